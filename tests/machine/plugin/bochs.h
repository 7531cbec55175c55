/*
 * What the plugin uses of Bochs 3.0. Debian ships no headers, so each function is declared here by hand, with its
 * mangled name as the assembler name.
 *
 * Invariant: nothing of Bochs is used outside this list, except the instrumentation hooks (hooks.c). Methods of
 * BX_MEM_C and BX_MEMORY_STUB_C are static in this build: they take no object. Those of the others take it.
 */
#ifndef PLUGIN_BOCHS_H
#define PLUGIN_BOCHS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOCHS(name) __asm__(name)

/* --- devices -------------------------------------------------------------------------------------------------- */

struct bochs_device;

/* Virtual methods in Bochs's order; the first two words of a C++ table are no methods. */
struct bochs_vtable {
	intptr_t offset_to_top;
	const void *type_info;
	void (*destroy)(struct bochs_device *);
	void (*destroy_and_free)(struct bochs_device *);
	void (*init)(struct bochs_device *);
	void (*reset)(struct bochs_device *, unsigned type);
	void (*register_state)(struct bochs_device *);
	void (*after_restore_state)(struct bochs_device *);
	void (*debug_dump)(struct bochs_device *, int argc, char **argv);
	/* the I/O APIC only */
	void (*set_enabled)(struct bochs_device *, bool enabled, uint16_t base);
	void (*receive_eoi)(struct bochs_device *, uint8_t vector);
	void (*set_irq_level)(struct bochs_device *, uint8_t pin, bool level);
};

/* A C++ object of Bochs's bx_devmodel_c: a pointer to the first method, then data that we never look at. */
struct bochs_device {
	const void *methods;
	char data[1024];
};

#define BOCHS_METHODS(vtable) ((const void *)&(vtable).destroy)

enum { PLUGIN_FINI, PLUGIN_INIT, PLUGIN_PROBE, PLUGIN_FLAGS };
#define PLUGIN_TYPE_OPTIONAL 4

void pluginRegisterDeviceDevmodel(void *plugin, uint16_t type, struct bochs_device *device, const char *name);

/* --- CPU's side of the bus -------------------------------------------------------------------------------------- */

typedef uint32_t (*bochs_port_read)(void *self, uint32_t port, uint32_t size);
typedef void (*bochs_port_write)(void *self, uint32_t port, uint32_t value, uint32_t size);
typedef bool (*bochs_mem_handler)(uint64_t addr, uint32_t size, void *data, void *self);

#define ALL_SIZES 7

extern int (*pluginRegisterDefaultIOReadHandler)(void *self, bochs_port_read fn, const char *name, uint8_t sizes);
extern int (*pluginRegisterDefaultIOWriteHandler)(void *self, bochs_port_write fn, const char *name, uint8_t sizes);

struct bochs_devices;
extern struct bochs_devices bx_devices;
/* A port as the CPU would read it. */
uint32_t bochs_port(struct bochs_devices *, uint16_t port, uint32_t size) BOCHS("_ZN12bx_devices_c3inpEtj");

/* Ranges are inclusive; unregistering needs exactly the range that was registered. */
bool bochs_register_memory(void *self, bochs_mem_handler read, bochs_mem_handler write, void *direct,
			   uint64_t first, uint64_t last)
	BOCHS("_ZN8BX_MEM_C22registerMemoryHandlersEPvPFbmjS0_S0_ES2_PFPhmjS0_Emm");
bool bochs_unregister_memory(void *self, uint64_t first, uint64_t last)
	BOCHS("_ZN8BX_MEM_C24unregisterMemoryHandlersEPvmm");
uint8_t *bochs_ram_page(uint64_t addr) BOCHS("_ZN16BX_MEMORY_STUB_C10get_vectorEm");
uint64_t bochs_ram_size(void) BOCHS("_ZN16BX_MEMORY_STUB_C14get_memory_lenEv");
/* Forgets all decoded instructions: memory changed behind the CPU's back. */
void bochs_flush_decoded(void) BOCHS("_Z12flushICachesv");

/* --- CPUs, time ------------------------------------------------------------------------------------------------- */

extern uint8_t bx_cpu_count;
extern uint8_t **bx_cpu_array; /* objects of class BX_CPU_C */

#define EVENT_VIRTUAL_INTERRUPT 0x200 /* BX_EVENT_PENDING_VMX_VIRTUAL_INTR */

/* Which events may reach the CPU, made anew from EFLAGS.IF, its VMX mode and the VMCS. */
void bochs_interrupt_mask(uint8_t *cpu) BOCHS("_ZN8BX_CPU_C25handleInterruptMaskChangeEv");

#define DELIVER_FIXED 0
#define DELIVER_LOWEST 1
#define DELIVER_NMI 4

/* True if some local APIC accepted it. */
bool bochs_deliver(uint8_t vector, uint32_t dest, uint8_t mode, bool logical, bool level, bool trigger_level)
	BOCHS("_Z26apic_bus_deliver_interrupthjhbbb");

struct bochs_system;
extern struct bochs_system bx_pc_system;

#define RESET_SOFTWARE 10
#define RESET_HARDWARE 11

int bochs_reset(struct bochs_system *, uint32_t type) BOCHS("_ZN14bx_pc_system_c5ResetEj");
uint64_t bochs_time_us(struct bochs_system *) BOCHS("_ZN14bx_pc_system_c9time_usecEv");
int bochs_timer(struct bochs_system *, void *self, void (*fn)(void *), uint64_t ticks, bool repeat, bool active,
		const char *name)
	BOCHS("_ZN14bx_pc_system_c20register_timer_ticksEPvPFvS0_EmbbPKc");

#endif
