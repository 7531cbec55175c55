/*
 * `nestling.cfg`: sections in brackets, `key = value` lines, `#` comments. Pure parser.
 *
 *   [nestling]
 *   on_last_exit = poweroff          # what happens when no VM is left: poweroff | halt | exit (exit port 0xf4, test machines)
 *   trace = off                      # on: the last 8192 events of each CPU (core/trace.h), printed with each report
 *   fault_injection = off            # on: a VM may make points of ours fail (HC_FAULT), for tests
 *   [nic 0]                          # a NIC of our own, in the order in which they are found; not inside another Nestling
 *   switch  = embedded | external    # who switches between its ports: the NIC itself (without), or the bridge behind the wire
 *   svid    = 100 101 - 103          # external: the S-VID of its first port, its second, ...; '-' or none: no S-channel, so the
 *                                    # port can only be emulated
 *   [vm inner]
 *   kernel  = nestling.elf           # multiboot 1 or 2 ELF in the bundle
 *   module  = inner.cpio text        # in order, with an optional command line; may be repeated
 *   cmdline = text
 *   memory  = 256M                   # K, M, G; multiple of 2M
 *   cpus    = 0 1                    # our CPU indices, one per vCPU; a number may be repeated; without: 0
 *   vmx     = on | pages | plain | off   # without: on; pages: a Nestling in it has VMCS pages but may not delegate (no flat nesting);
 *                                    # plain: not even those, as any other hypervisor
 *   nic     = port0 mode=passthrough mac=52:54:00:00:00:02 vlan=7   # only port is needed
 *                                    # mode: the state to start in, without: emulation; passthrough=off: it stays there;
 *                                    # mtu=N: 68 to 9198, without: 1500; posting=off: no self-armed posting (nic/README.md)
 *                                    # vdp=here|off: who speaks VDP for a port of an external switch, without: the innermost level
 *
 * A comment begins with '#' at the start of a line or behind a blank. Lines are printable ASCII, at most 511 characters;
 * they end with LF or CRLF, the last may lack it.
 *
 * Invariant: a config that parses names only files, numbers and words that are well-formed; what the machine can do is
 * checked later by vm_create. Errors carry file, line and reason.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "core/types.h"

#define CFG_MAX_VMS 8
#define CFG_MAX_CPUS 16
#define CFG_MAX_MODULES 8
#define CFG_MAX_NICS 8 /* the seven ports of one NIC can all be one inner's */
#define CFG_MAX_SWITCHES 4
#define CFG_NIC_PORTS 7 /* ports of one NIC */
#define CFG_MAX_TEXT 256

enum nic_mode { NIC_EMULATION, NIC_PASSTHROUGH };
enum nic_vdp { NIC_VDP_INNERMOST, NIC_VDP_HERE, NIC_VDP_OFF };
enum on_last_exit { LAST_POWEROFF, LAST_HALT, LAST_EXIT_PORT };

struct nic_config {
	u32 port;            /* lower port: index of the outer's (or the machine's) NIC port */
	enum nic_mode mode;  /* to start in */
	bool may_pass;       /* default on: pass-through is allowed */
	bool may_post;       /* default on: self-armed posting is allowed to who asks for it */
	bool has_mac;
	u8 mac[6];
	u16 vlan;            /* 0 = none */
	enum nic_vdp vdp;    /* which level associates the port with an external bridge */
	u16 mtu;             /* bytes behind the Ethernet header; 0: what the hardware can */
};

struct module_config { char file[64]; char cmdline[CFG_MAX_TEXT]; };

struct vm_config {
	char name[32];
	char kernel[64];
	char cmdline[CFG_MAX_TEXT];
	struct module_config modules[CFG_MAX_MODULES];
	u32 nr_modules;
	u64 memory;          /* bytes */
	u32 cpus[CFG_MAX_CPUS];
	u32 nr_cpus;
	bool vmx;            /* default on */
	bool vmx_plain;      /* … without what only a Nestling inside knows of */
	bool vmx_pages;      /* … with VMCS pages, but no delegation: trap and emulate */
	struct nic_config nics[CFG_MAX_NICS];
	u32 nr_nics;
	u32 line;            /* of the section, for messages */
};

/* Section [nic N]. */
struct switch_config {
	bool external;
	u16 svid[CFG_NIC_PORTS]; /* of each port; 0 = none */
	u32 nr_svids;            /* how many are listed, '-' included */
	u32 line;                /* of the section; 0 = there is none */
};

struct config {
	enum on_last_exit on_last_exit;
	bool trace;
	bool fault_injection;
	struct vm_config vms[CFG_MAX_VMS];
	u32 nr_vms;
	struct switch_config switches[CFG_MAX_SWITCHES]; /* of NIC 0, 1, ... */
};

/*
 * Parse `len` bytes of text. 0, or -EINVAL with "nestling.cfg:LINE: reason" in err. Unknown sections and keys, doubled
 * keys, VM names and S-VIDs of a NIC, missing kernel/memory, numbers out of range are errors.
 */
int config_parse(struct config *c, const char *text, u64 len, char *err, size_t errlen);

#endif
