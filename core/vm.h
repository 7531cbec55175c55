/*
 * Virtual machines: the object, its memory, its virtual devices' address spaces.
 *
 * Invariant: every address that a VM gives us goes through vm_* here at each use; the answer is inside that VM's own RAM or
 * an error. A VM's memory leaves the machine's pool at vm_create and returns, zeroed, after vm_destroy.
 */
#ifndef CORE_VM_H
#define CORE_VM_H

#include "core/config.h"
#include "core/console.h"
#include "core/counters.h"
#include "core/mem.h"
#include "core/ptab.h"
#include "core/spinlock.h"
#include "core/types.h"

struct vm;
struct vcpu;
struct nic_port;
struct bundle;

/* Software bits of an EPT leaf (SDM 3C, EPT paging-structure entries: bits 56:52 are ignored by the CPU). */
#define VM_MAP_RAM BIT(52)   /* RAM of the VM: we may read and write it on its behalf */
#define VM_MAP_DEVICE BIT(53) /* device registers passed through */

/* The part of a vCPU that core/ knows; vmx/vcpu.h embeds it first. */
struct vcpu_core {
	struct vm *vm;
	u32 index;
	u32 apic_id;         /* = index */
	u32 cpu;             /* our CPU that it is pinned to */
	gpa_t record_page;   /* HC_RECORD_PAGE, or ~0 */
	u8 *record;          /* our page: the copy that handlers see */
	struct counters count;
};

/* ---- virtual devices: ranges of ports or of guest-physical addresses with handlers ---- */
/* size 1, 2, 4 or 8 bytes; a read returns its value in the low bytes. v: the accessing vCPU. */
struct vdev_ops {
	u64 (*read)(void *dev, struct vcpu_core *v, u64 offset, u32 size);
	void (*write)(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value);
};
struct vdev_range { u64 base, len; const struct vdev_ops *ops; void *dev; };
#define VDEV_MAX_RANGES 32
/* lock protects range and nr during look-ups; no handler runs under it. */
struct vdev_space { spinlock_t lock; u32 nr; struct vdev_range range[VDEV_MAX_RANGES]; };

/* Add a range; -EEXIST on overlap, -ENOSPC, -EINVAL (empty, wraps). Any CPU, also while the VM runs. */
int vdev_add(struct vdev_space *s, u64 base, u64 len, const struct vdev_ops *ops, void *dev) __must_check;
/* A handler of the range may still be running when this returns: what `dev` points to must outlive the VM's run. */
void vdev_remove(struct vdev_space *s, u64 base);
/* True if a device claims any byte of [addr, addr + len). */
bool vdev_claims(struct vdev_space *s, u64 addr, u64 len);
/* Access; unclaimed or straddling accesses read ones and drop writes. True if a device claimed it. */
bool vdev_read(struct vdev_space *s, struct vcpu_core *v, u64 addr, u32 size, u64 *value);
bool vdev_write(struct vdev_space *s, struct vcpu_core *v, u64 addr, u32 size, u64 value);

enum vm_state { VM_NEW, VM_RUNNING, VM_ENDED };

struct vm {
	u32 id;
	const struct vm_config *cfg;
	struct mem_owner owner;        /* pays for RAM, tables, vCPUs */
	spinlock_t lock;               /* protects ept, the vdev spaces and ports */
	struct ptab ept;               /* gpa -> hpa: EPT of the VM's own vCPUs (ept01 seen from our inner) */
	u64 ram_low, ram_high;         /* bytes at 0.., and at 4 GiB.. */
	struct vdev_space pio, mmio;
	struct console_line console;
	struct vuart *uart;
	struct vioapic *ioapic;
	struct vpci *pci;
	struct vmisc *misc;
	struct vcpu *vcpus[CFG_MAX_CPUS];
	u32 nr_vcpus;
	struct nic_port *ports[CFG_MAX_NICS];
	u32 nr_ports;
	u32 ending;                    /* atomic: somebody is writing exit_code and why; state follows */
	u32 state;                     /* enum vm_state, atomic */
	u32 exit_code;
	char why[96];                  /* why it ended, for the console */
	struct report_vm *report;      /* its snapshots (core/report.c) */
};

/* How a guest starts: 32-bit flat protected mode, paging off (Multiboot Specification, Machine state). */
struct vm_entry_state { u32 eip, eax, ebx, esi; };

/* What core/ needs from vmx/ and nic/ (upward calls; filled in core/main.c). */
struct vm_arch_ops {
	/* ept format and per-VM state; before any mapping. 0, -ENOMEM. */
	int (*vm_init)(struct vm *vm);
	/* Create vCPU `index`; the BSP gets the entry state. 0, -ENOMEM. */
	int (*vcpu_create)(struct vm *vm, u32 index, const struct vm_entry_state *entry);
	/* Leaf flags of RAM; of device registers that are passed through (uncached). */
	u64 (*ram_flags)(void);
	u64 (*device_flags)(void);
	/* Flush cached translations of the VM's memory on all CPUs (after unmapping). */
	void (*flush)(struct vm *vm);
	/* An MSI written by a virtual device: addr/data as on a bus (SDM 3A, Message Signalled Interrupts). Any CPU. */
	void (*msi)(struct vm *vm, u64 addr, u32 data);
	/* Free all vCPUs; the VM has ended and none of them runs. */
	void (*vm_fini)(struct vm *vm);
	/* Kick all vCPUs of the VM so that they see state == VM_ENDED. */
	void (*vm_kick)(struct vm *vm);
	/* Ports: open what the config names, close all at the end. */
	int (*ports_init)(struct vm *vm);
	void (*ports_fini)(struct vm *vm);
};
extern const struct vm_arch_ops *vm_arch;

/*
 * Create a VM from its configuration: memory, devices, ACPI tables, kernel and modules loaded, vCPUs. Nothing runs yet.
 * 0 or a negative error with a sentence in err ("vm inner: …").
 */
int vm_create(struct vm **out, const struct vm_config *cfg, const struct bundle *b, char *err, size_t errlen);
/* Mark it ended (idempotent; the first reason stays) and kick its vCPUs. Any CPU, also from its own vCPU. */
void vm_end(struct vm *vm, u32 exit_code, const char *fmt, ...) __printf_like(3, 4);
/* Free everything. The VM has ended and no vCPU of it is current anywhere. */
void vm_destroy(struct vm *vm);
/*
 * Call fn for every VM that exists, under the VM list's lock: it creates and destroys none. The core part of a vCPU (NULL
 * while the VM is being made).
 */
void vm_for_each(void (*fn)(struct vm *vm, void *arg), void *arg);
static inline struct vcpu_core *vm_vcpu(const struct vm *vm, u32 i) { return (struct vcpu_core *)vm->vcpus[i]; }
static inline bool vm_ended(const struct vm *vm) { return READ_ONCE(vm->state) == VM_ENDED; }

/*
 * Translate: the hpa of gpa if [gpa, gpa+len) is RAM of the VM inside one leaf (so: contiguous); else HPA_NONE. For pages
 * and other aligned objects.
 */
hpa_t vm_gpa_to_hpa(struct vm *vm, gpa_t gpa, u64 len);
/* Copy from/to guest RAM, across leaves. 0, -EFAULT (nothing copied for a range that is not wholly RAM). */
int vm_read(struct vm *vm, gpa_t gpa, void *buf, u64 len) __must_check;
int vm_write(struct vm *vm, gpa_t gpa, const void *buf, u64 len) __must_check;
/* Largest gpa+1 of RAM or below-4G devices: where free guest-physical space for device windows begins (2 MiB aligned). */
u64 vm_gpa_top(const struct vm *vm);

#endif
