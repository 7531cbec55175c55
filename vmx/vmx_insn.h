/*
 * The VMX instructions (SDM 3C, VMX Instruction Reference). The only C file of the project with VMX asm.
 *
 * vmread and vmwrite panic on failure: a failing field access of our own VMCS is our bug. The try_ forms report.
 */
#ifndef VMX_VMX_INSN_H
#define VMX_VMX_INSN_H

#include "core/percpu.h"
#include "core/types.h"
#include "vmx/vmcs_fields.h"

enum vmx_result { VMX_OK = 0, VMX_FAIL_INVALID = 1, VMX_FAIL_VALID = 2 };

#define VMX_RESULT(cf, zf) ((cf) ? VMX_FAIL_INVALID : (zf) ? VMX_FAIL_VALID : VMX_OK)

static inline enum vmx_result vmxon(hpa_t region)
{
	bool cf, zf;
	__asm__ volatile("vmxon %2" : "=@ccc"(cf), "=@ccz"(zf) : "m"(region.v) : "memory");
	return VMX_RESULT(cf, zf);
}
static inline void vmxoff(void) { __asm__ volatile("vmxoff" ::: "cc", "memory"); }
static inline enum vmx_result vmclear(hpa_t vmcs)
{
	bool cf, zf;
	__asm__ volatile("vmclear %2" : "=@ccc"(cf), "=@ccz"(zf) : "m"(vmcs.v) : "memory");
	return VMX_RESULT(cf, zf);
}
static inline enum vmx_result vmptrld(hpa_t vmcs)
{
	bool cf, zf;
	__asm__ volatile("vmptrld %2" : "=@ccc"(cf), "=@ccz"(zf) : "m"(vmcs.v) : "memory");
	return VMX_RESULT(cf, zf);
}
static inline enum vmx_result try_vmread(u64 field, u64 *v)
{
	bool cf, zf;
	u64 x = 0;
	__asm__ volatile("vmread %3,%2" : "=@ccc"(cf), "=@ccz"(zf), "+r"(x) : "r"(field) : "memory");
	*v = x;
	return VMX_RESULT(cf, zf);
}
static inline enum vmx_result try_vmwrite(u64 field, u64 v)
{
	bool cf, zf;
	__asm__ volatile("vmwrite %3,%2" : "=@ccc"(cf), "=@ccz"(zf) : "r"(field), "r"(v) : "memory");
	return VMX_RESULT(cf, zf);
}

/*
 * Our VMCSs are VMCS pages (core/abi.h), which the outer Nestling reads: fields are memory. Set once, by vmx_probe.
 */
extern bool vmcs_in_memory;
static inline u64 *vmcs_slot(enum vmcs_field field) { return &this_cpu()->vmcs->field[NEST_VMCS_SLOT(field)]; }
static inline u64 vmread_memory(enum vmcs_field field) { return *vmcs_slot(field); }
static inline void vmwrite_memory(enum vmcs_field field, u64 v)
{
	*vmcs_slot(field) = v;
	this_cpu()->vmcs->clean &= ~vmcs_group(field);
}

void vmx_access_failed(bool write, u64 field, u64 v) __noreturn;

static inline u64 vmread(enum vmcs_field field)
{
	bool bad;
	u64 x;
	if (__builtin_expect(vmcs_in_memory, 0))
		return vmread_memory(field);
	__asm__ volatile("vmread %2,%1" : "=@ccbe"(bad), "=r"(x) : "r"((u64)field) : "memory");
	if (__builtin_expect(bad, 0))
		vmx_access_failed(false, field, 0);
	return x;
}
static inline void vmwrite(enum vmcs_field field, u64 v)
{
	bool bad;
	if (__builtin_expect(vmcs_in_memory, 0)) {
		vmwrite_memory(field, v);
		return;
	}
	__asm__ volatile("vmwrite %2,%1" : "=@ccbe"(bad) : "r"((u64)field), "r"(v) : "memory");
	if (__builtin_expect(bad, 0))
		vmx_access_failed(true, field, v);
}

/*
 * For the shortest paths: no check. Preconditions: another field of this VMCS has just been read with vmread; our VMCSs are
 * not in memory.
 */
static inline u64 vmread_again(enum vmcs_field field)
{
	u64 x;
	__asm__ volatile("vmread %1,%0" : "=r"(x) : "r"((u64)field) : "cc", "memory");
	return x;
}
#define vmread_again_to(field, where) __asm__ volatile("vmread %1,%0" : "=m"(where) : "r"((u64)(field)) : "cc", "memory")
static inline void vmwrite_again(enum vmcs_field field, u64 v)
{
	__asm__ volatile("vmwrite %1,%0" : : "r"((u64)field), "rm"(v) : "cc", "memory");
}

struct invept_desc { u64 eptp, zero; };
struct invvpid_desc { u64 vpid, linear; };
#define INVEPT_SINGLE 1
#define INVEPT_GLOBAL 2
#define INVVPID_ADDRESS 0
#define INVVPID_SINGLE 1
#define INVVPID_ALL 2
#define INVVPID_SINGLE_KEEP_GLOBAL 3
static inline enum vmx_result invept(u64 type, u64 eptp)
{
	struct invept_desc d = { eptp, 0 };
	bool cf, zf;
	__asm__ volatile("invept %2,%3" : "=@ccc"(cf), "=@ccz"(zf) : "m"(d), "r"(type) : "memory");
	return VMX_RESULT(cf, zf);
}
static inline enum vmx_result invvpid(u64 type, u64 vpid, u64 linear)
{
	struct invvpid_desc d = { vpid, linear };
	bool cf, zf;
	__asm__ volatile("invvpid %2,%3" : "=@ccc"(cf), "=@ccz"(zf) : "m"(d), "r"(type) : "memory");
	return VMX_RESULT(cf, zf);
}

#endif
