/*
 * VMCS shadowing: VMREAD and VMWRITE of L1 without exits (SDM 3C, VMCS Shadowing).
 */
#include "vmx/nested_priv.h"

int shadow_create(struct vcpu *v) { (void)v; return 0; }
void shadow_free(struct vcpu *v) { (void)v; }
void shadow_attach(struct vcpu *v) { (void)v; }
void shadow_detach(struct vcpu *v) { (void)v; }
void shadow_to_v12(struct vcpu *v) { (void)v; }
void shadow_from_v12(struct vcpu *v) { (void)v; }
