"""A kernel that is not ours: Debian's Xen boots as a guest, multiboot2, from protected mode to its own scheduler.

It uses what our guests never touch: xAPIC registers in memory, the I/O APIC, the ACPI tables, the PM timer, MTRRs, PAT, real-mode
addresses of the BIOS data area. It ends itself for want of an RTC, which the platform does not have (core/README.md).
"""
STEPS = (
    r"Xen version [0-9.]+\S* .*Debian",
    r"Command line: no-real-mode noapic console=com1",
    r"ACPI: +RSDP 000F0000|ACPI: RSDP",
    r"Platform timer is 3.580MHz ACPI PM Timer",
    r"Detected [0-9.]+ MHz processor",
    r"TSC deadline timer enabled",
    r"System with no CMOS RTC advertised|No usable wallclock found",
)


def check(m):
    depth = m.scenario.spec["spine"].get("depth", 1)
    prefix = r"^\[guest\] " if depth == 1 else r"^\[inner\] \[guest\] "
    for step in STEPS:
        m.expect(prefix + r"\(XEN\) (\[.*\] )?.*(" + step + ")", 240)
