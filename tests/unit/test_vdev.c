/*
 * core/vdev.c and the virtual devices on it: look-up, UART, I/O APIC, PCI configuration space, the small devices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/vioapic.h"
#include "core/vmisc.h"
#include "core/vpci.h"
#include "core/vuart.h"
#include "tests/unit/core_fakes.h"

static const struct vm_config cfg = { .name = "vm" };
static struct vm vm;
static struct vcpu_core cpu;

/* ---- what the devices call ---- */

static u32 nr_msi, msi_data;
static u64 msi_addr;

static void msi(struct vm *m, u64 addr, u32 data)
{
	assert_ptr_equal(m, &vm);
	nr_msi++;
	msi_addr = addr;
	msi_data = data;
}
static const struct vm_arch_ops ops = { .msi = msi };
const struct vm_arch_ops *vm_arch = &ops;

void vm_end(struct vm *m, u32 exit_code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(m->why, sizeof(m->why), fmt, ap);
	va_end(ap);
	m->exit_code = exit_code;
	m->state = VM_ENDED;
}

static int begin(void **state)
{
	(void)state;
	fakes_reset();
	vm = (struct vm){ .cfg = &cfg };
	cpu = (struct vcpu_core){ .vm = &vm };
	nr_msi = 0;
	assert_int_equal(vioapic_create(&vm), 0);
	assert_int_equal(vuart_create(&vm), 0);
	assert_int_equal(vpci_create(&vm), 0);
	assert_int_equal(vmisc_create(&vm), 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	vmisc_destroy(&vm);
	vpci_destroy(&vm);
	vuart_destroy(&vm);
	vioapic_destroy(&vm);
	vmisc_destroy(&vm); /* harmless when it is gone */
	assert_int_equal(vm.owner.pages, 0);
	return 0;
}

static u64 in(u16 port, u32 size)
{
	u64 v;
	vdev_read(&vm.pio, &cpu, port, size, &v);
	return v;
}
static void out(u16 port, u32 size, u64 value) { vdev_write(&vm.pio, &cpu, port, size, value); }
static u64 load(u64 addr, u32 size)
{
	u64 v;
	vdev_read(&vm.mmio, &cpu, addr, size, &v);
	return v;
}
static void store(u64 addr, u32 size, u64 value) { vdev_write(&vm.mmio, &cpu, addr, size, value); }

/* ---- look-up ---- */

static u64 last_write, last_offset;
static u64 t_read(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	(void)v;
	(void)size;
	last_offset = offset;
	return 0x1122334455667788ull + *(u8 *)dev;
}
static void t_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	(void)dev;
	(void)v;
	(void)size;
	last_offset = offset;
	last_write = value;
}
static const struct vdev_ops t_ops = { t_read, t_write };

static void ranges(void **state)
{
	static struct vdev_space s;
	u8 one = 1, two = 2;
	u64 v;

	(void)state;
	memset(&s, 0, sizeof(s));
	assert_int_equal(vdev_add(&s, 0x1000, 0x100, &t_ops, &one), 0);
	assert_int_equal(vdev_add(&s, 0x10ff, 1, &t_ops, &two), -EEXIST);
	assert_int_equal(vdev_add(&s, 0xfff, 2, &t_ops, &two), -EEXIST);
	assert_int_equal(vdev_add(&s, 0x800, 0x1000, &t_ops, &two), -EEXIST);
	assert_int_equal(vdev_add(&s, 0x2000, 0, &t_ops, &two), -EINVAL);
	assert_int_equal(vdev_add(&s, ~0ull, 2, &t_ops, &two), -EINVAL);
	assert_int_equal(vdev_add(&s, 0x1100, 4, &t_ops, &two), 0);
	assert_int_equal(vdev_add(&s, 0xff8, 8, &t_ops, &two), 0);
	assert_true(vdev_read(&s, &cpu, 0x1004, 4, &v));
	assert_int_equal(v, 0x55667789);
	assert_int_equal(last_offset, 4);
	assert_true(vdev_read(&s, &cpu, 0x1100, 1, &v));
	assert_int_equal(v, 0x8a);
	assert_false(vdev_read(&s, &cpu, 0x10fe, 4, &v)); /* straddles two devices */
	assert_int_equal(v, 0xffffffff);
	assert_false(vdev_read(&s, &cpu, 0x1102, 4, &v)); /* and the end of one */
	assert_false(vdev_read(&s, &cpu, 0x3000, 2, &v));
	assert_int_equal(v, 0xffff);
	assert_false(vdev_read(&s, &cpu, ~0ull, 8, &v));
	assert_int_equal(v, ~0ull);
	assert_true(vdev_write(&s, &cpu, 0x1010, 2, 0xabcd1234));
	assert_int_equal(last_write, 0x1234);
	last_write = 0;
	assert_false(vdev_write(&s, &cpu, 0x10fe, 4, 5));
	assert_int_equal(last_write, 0);
	assert_true(vdev_claims(&s, 0x10ff, 1));
	assert_true(vdev_claims(&s, 0, 0xff9));
	assert_false(vdev_claims(&s, 0x1104, 0x1000));
	vdev_remove(&s, 0x1000);
	assert_false(vdev_read(&s, &cpu, 0x1004, 4, &v));
	assert_true(vdev_read(&s, &cpu, 0x1100, 4, &v));
	for (u32 i = 2; i < VDEV_MAX_RANGES; i++)
		assert_int_equal(vdev_add(&s, 0x10000 + i, 1, &t_ops, &one), 0);
	assert_int_equal(vdev_add(&s, 0x20000, 1, &t_ops, &one), -ENOSPC);
}

/* ---- UART ---- */

#define COM(r) (u16)(0x3f8 + (r))

static void uart_prints(void **state)
{
	(void)state;
	out(COM(0), 1, 'h');
	out(COM(0), 1, 'i');
	out(COM(0), 1, '\n');
	assert_string_equal(fake_console, "hi\n");
	assert_int_equal(in(COM(5), 1), 0x60);
	out(COM(0), 1, '!');
	vuart_flush(&vm);
	assert_string_equal(fake_console, "hi\n!");
}

static void uart_registers(void **state)
{
	(void)state;
	assert_int_equal(in(COM(2), 1), 1); /* no interrupt, no FIFOs */
	out(COM(2), 1, 1);
	assert_int_equal(in(COM(2), 1), 0xc1);
	out(COM(7), 1, 0x5a);
	assert_int_equal(in(COM(7), 1), 0x5a);
	out(COM(1), 1, 0xff);
	assert_int_equal(in(COM(1), 1), 0x0f); /* what a driver tells a 16550 by */
	out(COM(1), 1, 0);
	out(COM(3), 1, 0x83);
	out(COM(0), 1, 0x34);
	out(COM(1), 1, 0x12);
	assert_int_equal(in(COM(0), 1), 0x34);
	assert_int_equal(in(COM(1), 1), 0x12);
	assert_string_equal(fake_console, "");
	out(COM(3), 1, 3);
	assert_int_equal(in(COM(3), 1), 3);
	assert_int_equal(in(COM(1), 1), 0);
	assert_int_equal(in(COM(0), 1), 0);
	assert_int_equal(in(COM(6), 1), 0xb0);
	out(COM(5), 1, 0);
	assert_int_equal(in(COM(5), 1), 0x60);
}

static void uart_loops_back(void **state)
{
	(void)state;
	out(COM(4), 1, 0x1a);
	assert_int_equal(in(COM(6), 1) & 0xf0, 0x90); /* RTS -> CTS, OUT2 -> DCD */
	out(COM(4), 1, 0x15);
	assert_int_equal(in(COM(6), 1) & 0xf0, 0x60); /* DTR -> DSR, OUT1 -> RI */
	out(COM(0), 1, 0xae);
	assert_int_equal(in(COM(5), 1), 0x61);
	assert_int_equal(in(COM(0), 1), 0xae);
	assert_int_equal(in(COM(5), 1), 0x60);
	assert_string_equal(fake_console, "");
}

static void redirect(u32 pin, u64 entry)
{
	for (u32 half = 0; half < 2; half++) {
		store(VIOAPIC_BASE, 4, 0x10 + pin * 2 + 1 - half);
		store(VIOAPIC_BASE + 0x10, 4, (u32)(entry >> (half ? 0 : 32)));
	}
}

static u64 redirection(u32 pin)
{
	store(VIOAPIC_BASE, 4, 0x10 + pin * 2 + 1);
	u64 v = load(VIOAPIC_BASE + 0x10, 4) << 32;
	store(VIOAPIC_BASE, 4, 0x10 + pin * 2);
	return v | load(VIOAPIC_BASE + 0x10, 4);
}

static void uart_interrupts(void **state)
{
	(void)state;
	redirect(VUART_IRQ, 0x34);
	out(COM(0), 1, 'x');
	assert_int_equal(nr_msi, 0);
	out(COM(1), 1, 2); /* enabling with an empty transmitter interrupts */
	assert_int_equal(nr_msi, 1);
	assert_int_equal(msi_data & 0xff, 0x34);
	assert_int_equal(in(COM(2), 1), 2);
	assert_int_equal(in(COM(2), 1), 1); /* reading IIR cleared it */
	assert_int_equal(nr_msi, 1);
	out(COM(0), 1, 'y');
	out(COM(0), 1, 'z'); /* an edge for each character, although nobody acknowledged */
	assert_int_equal(nr_msi, 3);
	out(COM(1), 1, 0);
	out(COM(0), 1, '.');
	assert_int_equal(nr_msi, 3);
}

static void uart_input(void **state)
{
	static const char text[1024] = { 'a' };

	(void)state;
	redirect(VUART_IRQ, 0x34);
	out(COM(2), 1, 1); /* FIFOs: one edge for all that has not been read */
	out(COM(1), 1, 1);
	assert_int_equal(in(COM(5), 1), 0x60);
	assert_int_equal(vuart_input(&vm, "xyz", 3), 0);
	assert_int_equal(nr_msi, 1);
	assert_int_equal(in(COM(5), 1), 0x61);
	assert_int_equal(in(COM(2), 1), 0xc4);
	assert_int_equal(in(COM(0), 1), 'x');
	assert_int_equal(vuart_input(&vm, "!", 1), 0);
	assert_int_equal(in(COM(0), 1), 'y');
	assert_int_equal(in(COM(0), 1), 'z');
	assert_int_equal(nr_msi, 1);
	assert_int_equal(in(COM(0), 1), '!');
	assert_int_equal(in(COM(5), 1), 0x60);
	assert_int_equal(in(COM(2), 1), 0xc1);
	assert_int_equal(in(COM(0), 1), 0);
	assert_int_equal(vuart_input(&vm, "a", 1), 0);
	assert_int_equal(nr_msi, 2);
	out(COM(2), 1, 3); /* clears the receiver */
	assert_int_equal(in(COM(5), 1), 0x60);
	out(COM(2), 1, 0); /* no FIFOs: an edge for each */
	assert_int_equal(vuart_input(&vm, "ab", 2), 0);
	assert_int_equal(nr_msi, 3);
	assert_int_equal(in(COM(0), 1), 'a');
	assert_int_equal(nr_msi, 4);
	assert_int_equal(in(COM(0), 1), 'b');
	assert_int_equal(nr_msi, 4);
	out(COM(1), 1, 0); /* not enabled: it waits, and enabling finds it */
	assert_int_equal(vuart_input(&vm, "c", 1), 0);
	assert_int_equal(nr_msi, 4);
	out(COM(1), 1, 1);
	assert_int_equal(nr_msi, 5);
	out(COM(4), 1, 0x10); /* the outside is cut off in loop-back mode */
	assert_int_equal(in(COM(5), 1), 0x60);
	out(COM(4), 1, 0);
	assert_int_equal(in(COM(0), 1), 'c');
	assert_int_equal(vuart_input(&vm, text, sizeof(text)), 0);
	assert_int_equal(vuart_input(&vm, text, 1), -ENOSPC); /* all or nothing, and never more than that */
	assert_int_equal(vuart_input(&vm, text, 0), 0);
	assert_int_equal(in(COM(0), 1), 'a');
	assert_int_equal(vuart_input(&vm, text, 2), -ENOSPC);
	assert_int_equal(vuart_input(&vm, text, 1), 0);
	for (u32 i = 0; i < sizeof(text); i++)
		in(COM(0), 1);
	assert_int_equal(in(COM(5), 1), 0x60);
}

/* ---- I/O APIC ---- */

static void ioapic_registers(void **state)
{
	(void)state;
	store(VIOAPIC_BASE, 4, 1);
	assert_int_equal(load(VIOAPIC_BASE + 0x10, 4), 0x00170020);
	store(VIOAPIC_BASE, 4, 0);
	store(VIOAPIC_BASE + 0x10, 4, 0xffffffff);
	assert_int_equal(load(VIOAPIC_BASE + 0x10, 4), 0x0f000000);
	assert_int_equal(redirection(5), 1 << 16); /* masked at reset */
	redirect(5, ~0ull);
	assert_int_equal(redirection(5), 0xff0000000001afffull); /* not delivery status, not remote IRR */
	redirect(24, ~0ull); /* beyond the last */
	assert_int_equal(redirection(24), 0);
	assert_int_equal(redirection(23), 1 << 16);
	assert_int_equal(load(VIOAPIC_BASE + 0x20, 4), 0);
}

static void ioapic_edge(void **state)
{
	(void)state;
	vioapic_set_pin(&vm, 7, true);
	vioapic_set_pin(&vm, 7, false);
	assert_int_equal(nr_msi, 0); /* masked: an edge is lost */
	redirect(7, 3ull << 56 | 1 << 11 | 1 << 8 | 0x51);
	assert_int_equal(nr_msi, 0);
	vioapic_set_pin(&vm, 7, true);
	vioapic_set_pin(&vm, 7, true);
	assert_int_equal(nr_msi, 1);
	assert_int_equal(msi_addr, 0xfee00000 | 3 << 12 | 4);
	assert_int_equal(msi_data, 0x4151);
	vioapic_set_pin(&vm, 7, false);
	vioapic_set_pin(&vm, 7, true);
	assert_int_equal(nr_msi, 2);
}

static void ioapic_level(void **state)
{
	(void)state;
	vioapic_set_pin(&vm, 9, true);
	redirect(9, 1 << 15 | 0x61); /* unmasked while asserted */
	assert_int_equal(nr_msi, 1);
	assert_int_equal(msi_data, 0xc061);
	assert_int_equal(redirection(9), 1 << 15 | 1 << 14 | 0x61);
	vioapic_set_pin(&vm, 9, true);
	assert_int_equal(nr_msi, 1); /* until the EOI */
	vioapic_eoi(&vm, 0x62);
	assert_int_equal(nr_msi, 1);
	vioapic_eoi(&vm, 0x61);
	assert_int_equal(nr_msi, 2); /* still asserted */
	vioapic_set_pin(&vm, 9, false);
	store(VIOAPIC_BASE + 0x40, 4, 0x61);
	assert_int_equal(nr_msi, 2);
	assert_int_equal(redirection(9), 1 << 15 | 0x61);
	vioapic_set_pin(&vm, 9, true);
	assert_int_equal(nr_msi, 3);
	redirect(9, 0x61); /* to edge and back: clears remote IRR */
	redirect(9, 1 << 15 | 0x61);
	assert_int_equal(nr_msi, 4);
}

/* ---- PCI ---- */

static void pci_bridge(void **state)
{
	(void)state;
	assert_int_equal(in(0xcfc, 4), 0xffffffff); /* not enabled */
	out(0xcf8, 4, 0x80000000);
	assert_int_equal(in(0xcf8, 4), 0x80000000);
	assert_int_equal(in(0xcfc, 4), 0x00081b36);
	assert_int_equal(in(0xcfe, 2), 0x0008);
	assert_int_equal(in(0xcff, 1), 0);
	assert_int_equal(in(0xcfd, 2), 0xffff); /* misaligned */
	out(0xcf8, 4, 0x80000008);
	assert_int_equal(in(0xcff, 1), 6); /* host bridge */
	out(0xcf8, 4, 0x80000800); /* no such device */
	assert_int_equal(in(0xcfc, 4), 0xffffffff);
	assert_int_equal(load(VPCI_ECAM_BASE, 4), 0x00081b36);
	assert_int_equal(load(VPCI_ECAM_BASE + 0xa, 2), 0x0600);
	assert_int_equal(load(VPCI_ECAM_BASE, 8), ~0ull);
	assert_int_equal(load(VPCI_ECAM_BASE + 0x8000, 4), 0xffffffff);
	assert_int_equal(load(VPCI_ECAM_BASE + VPCI_ECAM_LEN - 4, 4), 0xffffffff);
	store(VPCI_ECAM_BASE + 4, 2, 0);
	assert_int_equal(load(VPCI_ECAM_BASE + 4, 2), 6);
}

static u32 f_offset, f_size, f_value;
static u32 f_read(void *dev, u32 offset, u32 size)
{
	(void)dev;
	f_offset = offset;
	f_size = size;
	return 0xcafe;
}
static void f_write(void *dev, u32 offset, u32 size, u32 value)
{
	(void)dev;
	f_offset = offset;
	f_size = size;
	f_value = value;
}

static void pci_plugs_functions_in(void **state)
{
	static const struct vpci_ops f_ops = { f_read, f_write };

	(void)state;
	assert_int_equal(vpci_add(&vm, RID(0, 0, 0), &f_ops, NULL), -EEXIST);
	assert_int_equal(vpci_add(&vm, RID(2, 3, 1), &f_ops, NULL), 0);
	assert_int_equal(load(VPCI_ECAM_BASE + (0x219ull << 12) + 0xffe, 2), 0xcafe);
	assert_int_equal(f_offset, 0xffe);
	assert_int_equal(f_size, 2);
	out(0xcf8, 4, 0x800219fc | 3); /* the low bits read as zero */
	out(0xcfe, 2, 0x12345678);
	assert_int_equal(f_offset, 0xfe);
	assert_int_equal(f_value, 0x5678);
	for (u32 i = 2; i < VPCI_MAX_FUNCTIONS; i++)
		assert_int_equal(vpci_add(&vm, RID(9, i, 0), &f_ops, NULL), 0);
	assert_int_equal(vpci_add(&vm, RID(10, 0, 0), &f_ops, NULL), -ENOSPC);
}

/* ---- the small devices ---- */

static void ends(u32 code, const char *why)
{
	assert_int_equal(vm.state, VM_ENDED);
	assert_int_equal(vm.exit_code, code);
	assert_string_equal(vm.why, why);
	vm.state = VM_RUNNING;
}

static void ways_to_end(void **state)
{
	(void)state;
	out(0xf4, 1, 0x2a);
	ends(0x2a, "exit port");
	out(0xf4, 4, 0x1ff0007);
	ends(7, "exit port");
	out(0xf5, 1, 1);
	assert_int_equal(vm.state, VM_RUNNING);
	out(0x604, 2, 1 << 13 | 5 << 10);
	ends(VM_CODE_POWEROFF, "power-off");
	out(0x604, 2, 5 << 10); /* not enabled */
	out(0x604, 2, 1 << 13 | 3 << 10); /* S3 */
	assert_int_equal(vm.state, VM_RUNNING);
	out(0xcf9, 1, 2);
	assert_int_equal(vm.state, VM_RUNNING);
	out(0xcf9, 1, 6);
	ends(VM_CODE_RESET, "reset (port cf9)");
	out(0x64, 1, 0xfe);
	ends(VM_CODE_RESET, "reset (keyboard controller)");
	out(0x64, 1, 0xff);
	out(0x64, 1, 0xad);
	out(0x80, 1, 1);
	assert_int_equal(vm.state, VM_RUNNING);
}

static void fixed_hardware(void **state)
{
	(void)state;
	assert_int_equal(in(0x600, 2), 0);
	out(0x602, 2, 0x120);
	assert_int_equal(in(0x602, 2), 0x120);
	out(0x600, 4, 0x00210000);
	assert_int_equal(in(0x602, 2), 0x21);
	assert_int_equal(in(0x604, 2), 1);
	u32 t = (u32)in(0x608, 4);
	u64 start = rdtsc();
	while (rdtsc() - start < 10000000) /* 10 ms by the fake's 1 GHz */
		;
	u32 ticks = (u32)in(0x608, 4) - t;
	assert_in_range(ticks, 35795, 1000000);
	assert_int_equal(in(0x64, 1), 0);
	assert_int_equal(in(0x60, 1), 0);
	assert_int_equal(in(0x40, 1), 0xff); /* no PIT, no RTC */
	assert_int_equal(in(0x71, 1), 0xff);
}

static void pics(void **state)
{
	static const u16 ports[] = { 0x20, 0xa0 };

	(void)state;
	for (u32 i = 0; i < 2; i++) {
		u16 p = ports[i];
		out((u16)(p + 1), 1, 0xfb);
		assert_int_equal(in((u16)(p + 1), 1), 0xfb);
		out(p, 1, 0x11); /* ICW1 to ICW4 */
		out((u16)(p + 1), 1, 0x30);
		out((u16)(p + 1), 1, 0x04);
		out((u16)(p + 1), 1, 0x01);
		assert_int_equal(in((u16)(p + 1), 1), 0);
		out((u16)(p + 1), 1, 0xff);
		assert_int_equal(in((u16)(p + 1), 1), 0xff);
		out(p, 1, 0x12); /* single, no ICW4: one word only */
		out((u16)(p + 1), 1, 0x30);
		out((u16)(p + 1), 1, 0xaa);
		assert_int_equal(in((u16)(p + 1), 1), 0xaa);
		out(p, 1, 0x20); /* EOI */
		out(p, 1, 0x0b); /* read ISR */
		assert_int_equal(in(p, 1), 0);
		assert_int_equal(in((u16)(p + 1), 1), 0xaa);
	}
	assert_int_equal(nr_msi, 0);
}

/* Every port and width, all ones and zeros: nothing falls over, what is no device reads as ones. */
static void any_access(void **state)
{
	(void)state;
	for (u32 port = 0; port < 0x10000; port++) {
		for (u32 size = 1; size <= 4; size *= 2) {
			in((u16)port, size);
			out((u16)port, size, ~0ull);
			out((u16)port, size, 0);
			fake_console[0] = 0;
		}
	}
	for (u64 off = 0; off < VIOAPIC_LEN; off++) {
		for (u32 size = 1; size <= 8; size *= 2) {
			store(VIOAPIC_BASE + off, size, ~0ull);
			load(VIOAPIC_BASE + off, size);
		}
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ranges), T(uart_prints), T(uart_registers), T(uart_loops_back), T(uart_interrupts), T(uart_input), T(ioapic_registers),
		T(ioapic_edge), T(ioapic_level), T(pci_bridge), T(pci_plugs_functions_in), T(ways_to_end), T(fixed_hardware), T(pics),
		T(any_access),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
