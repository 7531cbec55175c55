"""Command lines of the emulators.

Invariant: paths in the machine's run directory are relative (the emulators run there), so their length does not matter;
memory, mailbox and doorbell are file descriptors, so no file outlives the machine.
"""
import os
from pathlib import Path

import network
import paths

NIC_DEVICES = {"igb": "igb", "e1000e": "e1000e"}


def nic_arguments(o, number, model, tap):
    """A NIC behind a root port of its own, on the wire `n<number>`."""
    if model == "none":
        return []
    wire = f"n{number}"
    argv = ["-device", f"pcie-root-port,id=rp{number},chassis={number + 1},slot={number + 1},addr={3 + number}.0"]
    if number > 0:      # a wire with nobody at the other end
        argv += ["-netdev", f"hubport,id={wire},hubid={number}"]
        mac = "52:54:00:c0:52:%02x" % number
    elif tap:
        argv += ["-netdev", f"tap,id={wire},ifname={network.TAP},script=no,downscript=no,vnet_hdr=off"]
        mac = o.mac
    else:
        argv += ["-netdev", f"dgram,id={wire},local.type=unix,local.path=wire.qemu,"
                            "remote.type=unix,remote.path=wire.peer"]
        mac = o.mac
    argv += ["-device", f"{NIC_DEVICES[model]},id=nic{number},bus=rp{number},netdev={wire},mac={mac},romfile="]
    if o.capture and number == 0:
        argv += ["-object", f"filter-dump,id=dump0,netdev={wire},file=packets.pcap"]
    return argv


def iommu_arguments(o):
    if not o.iommu:
        return []

    def on(flag):
        return "on" if flag else "off"
    eim = o.eim and o.intremap
    return ["-device", f"intel-iommu,intremap={on(o.intremap)},eim={on(eim)},caching-mode={on(o.caching_mode)},"
                       f"device-iotlb={on(o.device_iotlb)},aw-bits={o.aw_bits}"]


def drive_arguments(o):
    argv = []
    if o.disk:
        argv += ["-drive", f"file={Path(o.disk).resolve()},if=none,id=disk0,format=raw,snapshot=on",
                 "-device", "ide-hd,drive=disk0,bus=ide.0,bootindex=1"]
    if o.iso:
        argv += ["-drive", f"file={Path(o.iso).resolve()},if=none,id=cd0,format=raw,media=cdrom,readonly=on",
                 "-device", "ide-cd,drive=cd0,bus=ide.1,bootindex=2"]
    return argv


def ram_arguments(o, ram_fd):
    return ["-m", str(o.memory), "-object",
            f"memory-backend-file,id=ram0,size={o.memory}M,mem-path=/proc/self/fd/{ram_fd},share=on"]


def qemu_common(o, ram_fd, tap):
    argv = paths.emulator("qemu-system-x86_64")
    for folder in ("usr/share/qemu", "usr/share/seabios"):
        argv += ["-L", str(paths.data(folder))]
    argv += ["-smp", str(o.cpus), "-nodefaults", "-no-user-config", "-display", "none"]
    argv += ram_arguments(o, ram_fd) + iommu_arguments(o)
    argv += nic_arguments(o, 0, o.nic, tap) + nic_arguments(o, 1, o.second_nic, None) + drive_arguments(o)
    return argv + ["-qmp", "unix:qmp.sock,server=on,wait=off"] + o.qemu_extra


def cosim_qemu(o, ram_fd, mailbox_fd, doorbell_fd, tap):
    """QEMU as everything but the CPU."""
    return qemu_common(o, ram_fd, tap) + [
        "-machine", "q35,smm=off,hpet=off,vmport=off,memory-backend=ram0",
        "-accel", "tcg,thread=multi", "-cpu", "max",
        "-object", f"memory-backend-file,id=mailbox,size=1M,mem-path=/proc/self/fd/{mailbox_fd},share=on",
        "-device", "ivshmem-plain,memdev=mailbox,addr=1e.0",
        "-chardev", f"socket,id=doorbell,fd={doorbell_fd}", "-device", "isa-serial,chardev=doorbell,iobase=0x3f8,irq=4",
        "-bios", str(paths.built("machine/agent.bin", "the agent"))]


def qemu(o, ram_fd, tap):
    """A machine of QEMU alone."""
    kvm = o.kind == "kvm"
    argv = qemu_common(o, ram_fd, tap) + [
        "-machine", "q35,smm=off,hpet=off,vmport=off,memory-backend=ram0" + (",kernel-irqchip=split" if kvm else ""),
        "-accel", "kvm" if kvm else "tcg,thread=multi", "-cpu", "host,+vmx" if kvm else "max",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
        "-chardev", "file,id=console,path=console.fifo,input-path=console.in", "-device", "isa-serial,chardev=console,iobase=0x3f8,irq=4"]
    if o.resets == 0:
        argv += ["-no-reboot"]
    if o.firmware == "uefi":
        argv += ["-bios", str(paths.data("usr/share/ovmf/OVMF.fd"))]
    return argv


def bochs():
    return paths.emulator("bochs-bin", paths.built("machine/libidle.so", "the Bochs plugin")) + ["-q", "-f", "bochsrc"]


def bochs_environment(settings):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("BX", "LTDL", "NESTLING_"))}
    env.update(TERM="vt100", LTDL_LIBRARY_PATH=f"{paths.MACHINE}:{paths.data(paths.LIB + '/bochs/plugins')}")
    env.update({"NESTLING_" + k: str(v) for k, v in settings.items()})
    return env


BOCHSRC = """\
cpu: model={model}, count={cpus}, ips={ips}, reset_on_triple_fault=1, ignore_bad_msrs=1{quantum}{exclude}
memory: guest={memory}, host={memory}
vgaromimage: file={vgabios}
vga: extension={vga}
com1: enabled=1, mode=file, dev=console.fifo
display_library: term
clock: sync=none
log: bochs.log
panic: action=fatal
error: action=report
info: action={info}
debug: action=ignore
"""
# Smaller turns: a halted CPU then adds fewer ticks to the common clock while another works.
SMP_QUANTUM = ", quantum=16"


def bochsrc(o):
    """Bochs's configuration: joined with QEMU, or as a machine of its own (an i440FX)."""
    text = BOCHSRC.format(model=o.cpu_model, cpus=o.cpus, ips=o.ips, memory=o.memory,
                          quantum=SMP_QUANTUM if o.cpus > 1 else "",
                          exclude=f', exclude_features="{excluded}"' if (excluded := " ".join(o.cpuid_without())) else "",
                          vgabios=paths.data("usr/share/vgabios/vgabios.stdvga.bin"),
                          vga="none" if o.kind == "cosim" else "vbe",
                          info="ignore" if o.kind == "cosim" else "report")
    uefi = f"romimage: file={paths.data('usr/share/ovmf/OVMF.fd')}\n"
    if o.kind == "cosim":
        return text + uefi + ("plugin_ctrl: nestling=1, unmapped=1, biosdev=0, speaker=0, extfpuirq=0, parallel=0,"
                              " gameport=0, iodebug=0\npci: enabled=0\nata0: enabled=0\nboot: disk\n")
    bios = f"romimage: file={paths.data('usr/share/bochs/BIOS-bochs-latest')}\n"
    text += (uefi if o.firmware == "uefi" else bios) + "plugin_ctrl: nestling=1\npci: enabled=1, chipset=i440fx\n"
    if o.disk:
        text += f"ata0-master: type=disk, mode=volatile, path={Path(o.disk).resolve()}, journal=disk.redolog\n"
    if o.iso:
        text += f"ata1-master: type=cdrom, path={Path(o.iso).resolve()}, status=inserted\n"
    return text + f"boot: {'disk' if o.disk else 'cdrom'}\n"


def kvm_missing():
    """Why the kind `kvm` cannot run here, or None."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm cannot be opened"
    if " vmx" not in Path("/proc/cpuinfo").read_text():
        return "this processor offers no VMX"
    nested = Path("/sys/module/kvm_intel/parameters/nested")
    if not nested.exists() or nested.read_text().strip() not in ("Y", "1"):
        return "kvm_intel has nested=0"
    return None
