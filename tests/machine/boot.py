#!/usr/bin/env python3
"""Boots a disk image or an ISO on one of the test machines and shows its console.

Exit status: the byte that the guest writes to port 0xF4; 124 if it hangs; 125 if the machine itself fails; 126 if the
machine ends otherwise (power-off, reset).
"""
import argparse
import dataclasses
import signal
import sys

import options
import paths
from machine import Ended, Hang, InfrastructureError, Machine

HANG_STATUS, INFRASTRUCTURE_STATUS, ENDED_STATUS = 124, 125, 126


def flag(parser, name, default, text):
    parser.add_argument(f"--{name}", default=default, action=argparse.BooleanOptionalAction, help=text)


def parse(argv):
    d = options.Options()
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--machine", dest="kind", choices=options.KINDS, default=d.kind)
    p.add_argument("--cpus", type=int, default=d.cpus)
    p.add_argument("--memory", type=int, default=d.memory, help="MiB")
    p.add_argument("--cpu-model", default=d.cpu_model, help="a Bochs CPU model")
    p.add_argument("--without", action="append", default=[], choices=options.FEATURES, help="a feature that the processor is to lack")
    p.add_argument("--disk", help="raw disk image")
    p.add_argument("--iso", help="CD image")
    p.add_argument("--firmware", choices=("uefi", "bios"), default=d.firmware)
    p.add_argument("--nic", choices=options.NICS, default=d.nic)
    p.add_argument("--second-nic", choices=options.NICS, default=d.second_nic)
    p.add_argument("--mtu", type=int, default=d.mtu, help="of the host's end of the wire")
    flag(p, "iommu", d.iommu, "a VT-d unit")
    flag(p, "intremap", d.intremap, "interrupt remapping")
    flag(p, "eim", d.eim, "x2APIC mode of VT-d")
    flag(p, "caching-mode", d.caching_mode, "CAP.CM")
    flag(p, "device-iotlb", d.device_iotlb, "ATS")
    p.add_argument("--aw-bits", type=int, default=d.aw_bits, help="39 or 48")
    p.add_argument("--resets", type=int, default=d.resets, help="platform resets that do not end the machine")
    p.add_argument("--ips", type=int, default=d.ips, help="Bochs: instructions per guest second")
    flag(p, "capture", d.capture, "packets.pcap")
    flag(p, "paced", d.paced, "guest time never faster than the host's")
    p.add_argument("--qemu-extra", action="append", default=[], metavar="ARG", help="one more argument for QEMU")
    p.add_argument("--run-dir", default="build/run/boot")
    p.add_argument("--timeout", type=float, default=120, help="seconds that end a hang")
    flag(p, "reports", False, "show the machine-readable reports as well")
    args = p.parse_args(argv)
    fields = {f.name: getattr(args, f.name) for f in dataclasses.fields(d) if hasattr(args, f.name)}
    return args, options.Options(**fields)


def terminate(signum, frame):
    signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(args, opts):
    def echo(line):
        print(line, flush=True)

    with Machine(opts, args.run_dir, echo) as m:
        return m.wait(args.timeout)


def main(argv):
    args, opts = parse(argv)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, terminate)
    try:
        return run(args, opts)
    except (options.BadOption, paths.Missing, InfrastructureError) as e:
        print(f"boot: the machine failed: {e}", file=sys.stderr)
        return INFRASTRUCTURE_STATUS
    except Hang as e:
        print(f"boot: hang: {e}", file=sys.stderr)
        return HANG_STATUS
    except Ended as e:
        print(f"boot: {e}", file=sys.stderr)
        return ENDED_STATUS
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
