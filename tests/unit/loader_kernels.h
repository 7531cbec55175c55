/* Kernels, modules and a flat guest RAM for the tests of the loader. */
#ifndef TESTS_UNIT_LOADER_KERNELS_H
#define TESTS_UNIT_LOADER_KERNELS_H

#include "core/loader.h"

#define RAM (8ull << 20)
#define HEADER_AT 0x400u  /* of the multiboot header in the test kernels */
#define TEXT_AT 0x1000u   /* of the first segment's bytes */
#define TEXT_LEN 0x300u
#define DATA_LEN 0x80u
#define FILE_LEN (TEXT_AT + TEXT_LEN + DATA_LEN)
#define LOAD 0x200000u
#define VIRT 0xffffffff80000000ull

extern u8 ram[RAM], kernel[FILE_LEN];
extern struct vm_config cfg;
extern struct vm vm;
extern char err[256];
extern struct vm_entry_state entry;      /* of the last load() */
extern struct bundle_file files[4];      /* kernel first, then modules */

/* Two segments at LOAD and LOAD + 3000h, 64 bit with virtual addresses at VIRT, or 32 bit. */
void put_elf64(void);
void put_elf32(void);
/* Headers at HEADER_AT: multiboot 1; multiboot 2 between mb2_begin and mb2_end. */
void put_mb1(u32 flags);
void mb2_begin(void);
void mb2_tag(u16 type, u16 flags, const u32 *words, u32 n);
#define MB2_TAG(type, flags, ...) mb2_tag((type), (flags), (u32[]){ __VA_ARGS__ }, sizeof((u32[]){ __VA_ARGS__ }) / 4)
void mb2_end(void);
/* Before each test: nothing made yet. */
int begin(void **state);
/* Load the first n bytes of the kernel, or all. */
int load_n(u64 n);
int load(void);
/* Loading fails, and the sentence has this part. */
void expect(const char *part);
/* Module i of the configuration. */
void module(u32 i, const char *name, const char *data, const char *cmdline);
/* Both segments lie at base, zeros between. */
void image_is_at(u64 base);
/* 32 bits of guest RAM. */
u32 word(u64 gpa);
/* Begin, and a 64-bit multiboot2 kernel with a relocatable tag. */
void relocate(u32 min, u32 max, u32 align, u32 preference);

#endif
