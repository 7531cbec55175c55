/*
 * vmx/vmx_insn.h for tests of the nested engine: the same, but the instructions work on VMCSs of the test's own (nested_machine.c). VMCSs
 * in memory are as ever.
 */
#define vmclear cpu_vmclear
#define vmptrld cpu_vmptrld
#define vmread cpu_vmread
#define vmwrite cpu_vmwrite
#define vmread_again cpu_vmread_again
#define vmwrite_again cpu_vmwrite_again
#include_next "vmx/vmx_insn.h"
#undef vmclear
#undef vmptrld
#undef vmread
#undef vmwrite
#undef vmread_again
#undef vmwrite_again
#undef vmread_again_to

#ifndef UNIT_VMX_MODEL_VMX_INSN_H
#define UNIT_VMX_MODEL_VMX_INSN_H
enum vmx_result vmclear(hpa_t vmcs);
enum vmx_result vmptrld(hpa_t vmcs);
u64 vmread(enum vmcs_field field);
void vmwrite(enum vmcs_field field, u64 v);
static inline u64 vmread_again(enum vmcs_field field) { return vmread(field); }
static inline void vmwrite_again(enum vmcs_field field, u64 v) { vmwrite(field, v); }
#define vmread_again_to(field, where) ((where) = vmread(field))
#endif
