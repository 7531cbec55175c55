/*
 * The machine's self-test: an EFI program that proves what the emulated machine promises to a hypervisor. One file per
 * part of the machine; main.c runs them in order.
 *
 * Invariant: every check prints exactly one line, "PASS name" or "FAIL name", on COM1.
 */
#ifndef SELFTEST_H
#define SELFTEST_H

#include "tests/machine/selftest/insn.h"

/* --- report.c ---------------------------------------------------------------------------------------------------- */
void print(const char *text);
void print_hex(const char *name, u64 value);
/* One line of the result; returns ok. */
bool check(bool ok, const char *name);
void skip(const char *name, const char *why);
unsigned failures(void);
void end_machine(u8 code) __attribute__((noreturn));

/* --- platform.c: ACPI, memory, time ------------------------------------------------------------------------------ */
struct platform {
	u64 ecam;      /* MCFG */
	u64 vtd;       /* register base of the first DRHD; 0 = no DMAR */
	u32 cpus;      /* enabled local APICs of the MADT */
	u16 pm_timer;  /* port */
};
extern struct platform platform;
void platform_init(void *efi_system_table);
/* Zeroed pages below 4 GiB. */
u64 alloc_pages(unsigned count);
u32 pm_ticks(void);
/* Waits until cond holds, at most `ms` (real time, by the PM timer); false if it never did. */
#define wait_until(cond, ms) ({ \
	u32 start_ = pm_ticks(); \
	bool ok_; \
	while (!(ok_ = (cond)) && ((pm_ticks() - start_) & 0xFFFFFF) < (ms) * 3580u) \
		pause_cpu(); \
	ok_; })
void delay_ms(u32 ms);

/* --- pci.c ------------------------------------------------------------------------------------------------------- */
#define PCI_COMMAND    0x04
#define PCI_BAR(n)     (0x10 + 4 * (n))
#define PCI_MEM_BME    0x06  /* memory decode and bus mastering */
#define PCI_INTX_OFF   0x400
#define PCI_CAP_MSIX   0x11
#define PCI_EXT_SRIOV  0x10
u64 pci_cfg(u32 bdf, u32 reg);
u32 pci_find_device(u32 id);      /* bdf, or 0 */
u32 pci_find_cap(u32 bdf, u8 id);
u32 pci_find_ext_cap(u32 bdf, u16 id);
u64 pci_bar(u32 bdf, u32 reg);
/* Points entry 0 of the MSI-X table at IRTE `handle` and enables MSI-X. */
void pci_msix_remapped(u32 bdf, u64 table_bar, u32 handle);
void pci_msix_off(u32 bdf);

/* --- irq.c ------------------------------------------------------------------------------------------------------- */
#define VECTOR_FIRST 0x50
#define VECTOR_COUNT 8
void irq_init(void);
/* The same interrupt table for the calling CPU, its local APIC enabled. */
void irq_init_ap(void);
u32 irq_count(u8 vector);
u32 irq_last_cpu(u8 vector);      /* APIC ID that took it last */
u32 apic_id(void);
/* Called in the handler of the level-triggered vector, before EOI. */
#define VECTOR_LEVEL (VECTOR_FIRST + VECTOR_COUNT - 1)
extern void (*volatile irq_level_handler)(void);

/* --- vtd.c ------------------------------------------------------------------------------------------------------- */
#define FAULT_NO_WRITE    5
#define FAULT_NO_READ     6
#define FAULT_IRTE_ABSENT 0x22
#define FAULT_IRTE_SOURCE 0x26
#define IOAPIC_RID        0xFF00  /* as the DMAR says */
#define NO_RID            0xFFFF  /* as QEMU records faults of its I/O APIC */
void vtd_init(void);
u64 vtd_domain_new(void);
void vtd_map(u64 domain, u64 iova, u64 page);
void vtd_attach(u32 bdf, u64 domain, u16 id);
void vtd_irte(u32 handle, u32 rid, u8 vector, u32 apic, bool level);
void vtd_irte_clear(u32 handle);
void vtd_flush(void);
/* Reason of the pending fault, which is cleared; -1 = none. */
int vtd_fault(u32 *rid, u64 *addr);

/* --- igb.c ------------------------------------------------------------------------------------------------------- */
struct igb_queue {
	u64 regs;             /* BAR0 of the function */
	u32 rx, tx;           /* offsets of its register blocks */
	u64 rx_ring, tx_ring; /* as the CPU sees them */
	u32 rx_tail, tx_tail;
};
u64 igb_start(u32 bdf, u8 mac[6]);   /* BAR0; 0 = the link did not come up */
void igb_queue_init(struct igb_queue *q, u64 rx_iova, u64 tx_iova);
void igb_rx_post(struct igb_queue *q, u64 iova);
bool igb_rx_wait(struct igb_queue *q);
/* Sends and waits for the descriptor's write-back. */
bool igb_tx(struct igb_queue *q, u64 iova, u32 size);
void igb_raise(u64 regs);            /* PF: cause 0 by software */
void igb_interrupts_on(u64 regs);    /* PF: MSI-X mode, RX and TX of queue 0 and software are cause 0 */
void igb_legacy_on(u64 regs);
void igb_legacy_raise(u64 regs);
void igb_legacy_clear(u64 regs);
bool igb_vfs_on(u32 bdf, unsigned count, u64 *bar0, u64 *bar3, u32 rid[]);
void igb_pool(u64 regs, unsigned vf, const u8 mac[6]);
void igb_vf_interrupts_on(u64 vf_regs);
/* An ARP request from mac/10.0.0.<last> for 10.0.0.1; true from arp_reply if the page holds the answer. */
void arp_request(u64 page, const u8 mac[6], u8 last);
bool arp_reply(u64 page, const u8 mac[6], u8 last);
#define ARP_SIZE 60

/* --- the tests --------------------------------------------------------------------------------------------------- */
struct nic {
	u32 bdf;
	u64 regs;
	u8 mac[6];
	struct igb_queue q;
	u64 rx_page, tx_page;      /* as the CPU sees them */
	u64 rx_iova, tx_iova;
};
void test_platform(void);
void test_dma(struct nic *n);
void test_msix(struct nic *n);
void test_level(struct nic *n);
void test_vf(struct nic *n);
void test_vmx(void);
void test_cpus(struct nic *n, void *efi_system_table);
void test_reset(void);

#endif
