"""What a machine can be: the options of all kinds, in one place."""
from dataclasses import dataclass, field

KINDS = ("cosim", "qemu", "kvm", "bochs")
NICS = ("igb", "e1000e", "none")
MAX_MEMORY = 1536    # MiB; above, q35 would split RAM around 2 GiB, and Bochs ends at 2 GiB
MAX_CPUS = 8
DEFAULT_MODEL = "corei7_skylake_x"


class BadOption(Exception):
    pass


@dataclass(frozen=True)
class Feature:
    """What a processor may lack: how, in Bochs's names, and what a Nestling on it says at its start."""
    says: str
    vmx: int = 0        # bits of Bochs's word of VT-x features (its cpu/cpuid.h): plugin/processor.c
    cpuid: str = ""     # Bochs's name for exclude_features


# All that Nestling has a fallback for, and can be taken away from the default processor, each with what cannot be without it.
FEATURES = {
    "unrestricted-guest": Feature("unrestricted guest no", 1 << 9),
    "vpid": Feature("VPID no", 1 << 8),
    "vmcs-shadowing": Feature("VMCS shadowing no", 1 << 20),
    "apicv": Feature("APIC virtualisation no", 1 << 18 | 1 << 19),          # virtual-interrupt delivery; posted interrupts
    "posted-interrupts": Feature("posted interrupts no", 1 << 19),
    "preemption-timer": Feature("preemption timer no", 1 << 10),
    "ept-ad": Feature("EPT A/D no", 1 << 17 | 1 << 22),                     # accessed and dirty flags; the log of dirty pages
    "1g-pages": Feature("EPT pages up to 2M", cpuid="1g_pages"),
}


@dataclass
class Options:
    kind: str = "cosim"
    cpus: int = 1
    memory: int = 1024                       # MiB
    cpu_model: str = DEFAULT_MODEL           # Bochs's name; cosim and bochs only
    without: list = field(default_factory=list)      # of FEATURES; the default model only
    disk: str = None                         # raw disk image; never written to
    iso: str = None
    firmware: str = "uefi"                   # "bios": kinds qemu, kvm and bochs, for a GRUB ISO
    nic: str = "igb"                         # "e1000e" has no SR-IOV
    mac: str = "52:54:00:c0:51:01"
    mtu: int = 1500
    second_nic: str = "none"
    iommu: bool = True
    intremap: bool = True
    eim: bool = True
    caching_mode: bool = False
    device_iotlb: bool = False
    aw_bits: int = 48
    resets: int = 0                          # platform resets that do not end the machine
    capture: bool = True                     # packets of the wire, in packets.pcap
    ips: int = 50_000_000                    # Bochs: instructions per guest second
    paced: bool = False                      # guest time never runs faster than the host's: for peers with timers of their own
    qemu_extra: list = field(default_factory=list)

    def check(self):
        if self.kind not in KINDS:
            raise BadOption(f"machine kind {self.kind!r} is not one of {', '.join(KINDS)}")
        if not 1 <= self.cpus <= MAX_CPUS:
            raise BadOption(f"{self.cpus} CPUs: 1 to {MAX_CPUS} are possible")
        if not 128 <= self.memory <= MAX_MEMORY:
            raise BadOption(f"{self.memory} MiB of memory: 128 to {MAX_MEMORY} are possible")
        for nic in (self.nic, self.second_nic):
            if nic not in NICS:
                raise BadOption(f"NIC {nic!r} is not one of {', '.join(NICS)}")
        for name in self.without:
            if name not in FEATURES:
                raise BadOption(f"feature {name!r} is not one of {', '.join(FEATURES)}")
        if self.without and (self.kind not in ("cosim", "bochs") or self.cpu_model != DEFAULT_MODEL):
            raise BadOption(f"features can only be taken away from Bochs's {DEFAULT_MODEL}")
        if self.firmware not in ("uefi", "bios"):
            raise BadOption(f"firmware {self.firmware!r} is neither uefi nor bios")
        if self.paced and self.kind != "cosim":
            raise BadOption("only the joined machine can be paced")
        if self.kind == "cosim" and self.firmware == "bios":
            raise BadOption("the joined machine boots by UEFI only")
        if self.disk is None and self.iso is None:
            raise BadOption("nothing to boot: neither a disk nor an ISO")

    def vmx_without(self):
        """Bits to be cleared in Bochs's word of VT-x features."""
        bits = 0
        for name in self.without:
            bits |= FEATURES[name].vmx
        return bits

    def cpuid_without(self):
        """Names for Bochs's exclude_features."""
        return [FEATURES[name].cpuid for name in self.without if FEATURES[name].cpuid]
