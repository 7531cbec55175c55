/*
 * A Multiboot 1 header for conform.elf: loaders of both versions start it (guest/start.S has the other header and the entry).
 *
 * Invariant: within the first 8 KiB of the file (Multiboot 0.6.96, OS image format); page alignment and memory information wanted.
 */
#define MB1_HEADER_MAGIC 0x1badb002
#define MB1_FLAGS 3

	.section .multiboot, "a"
	.balign 4
	.long MB1_HEADER_MAGIC, MB1_FLAGS, -(MB1_HEADER_MAGIC + MB1_FLAGS)

	.section .note.GNU-stack, "", @progbits
