/*
 * Result lines on COM1, and the machine's end.
 */
#include "tests/machine/selftest/selftest.h"

#define COM1      0x3F8
#define LSR       (COM1 + 5)
#define LSR_THRE  0x20
#define PORT_EXIT 0xF4

static unsigned failed;

static void put(char c)
{
	while (!(inb(LSR) & LSR_THRE))
		pause_cpu();
	outb(COM1, (u8)c);
}

void print(const char *text)
{
	while (*text)
		put(*text++);
}

void print_hex(const char *name, u64 value)
{
	print("     ");
	print(name);
	print(" ");
	for (int shift = 60; shift >= 0; shift -= 4)
		if (value >> shift || !shift)
			put("0123456789abcdef"[value >> shift & 15]);
	print("\n");
}

bool check(bool ok, const char *name)
{
	print(ok ? "PASS " : "FAIL ");
	print(name);
	print("\n");
	failed += !ok;
	return ok;
}

void skip(const char *name, const char *why)
{
	print("SKIP ");
	print(name);
	print(": ");
	print(why);
	print("\n");
}

unsigned failures(void)
{
	return failed;
}

void end_machine(u8 code)
{
	outb(PORT_EXIT, code);
	for (;;)
		halt();
}
