/*
 * VT-d as hardware sees it: register offsets and fields, and constructors for every entry and descriptor that hardware
 * reads (VT-d 3.4, Register Descriptions; Translation Structure Formats; Interrupt Remapping Table Entry).
 *
 * Invariant: a hardware word is put together here and nowhere else; a field that is not named is written as zero.
 */
#ifndef IOMMU_VTD_REGS_H
#define IOMMU_VTD_REGS_H

#include "core/mem.h"
#include "core/pci.h"
#include "core/ptab.h"
#include "core/types.h"

/* ---- registers ---- */
#define VTD_VER 0x00
#define VTD_CAP 0x08
#define VTD_CAP_ND BITS(2, 0)
#define VTD_CAP_RWBF BIT(4)
#define VTD_CAP_PLMR BIT(5)
#define VTD_CAP_PHMR BIT(6)
#define VTD_CAP_CM BIT(7)
#define VTD_CAP_SAGAW BITS(12, 8)
#define VTD_CAP_MGAW BITS(21, 16)
#define VTD_CAP_FRO BITS(33, 24)
#define VTD_CAP_SLLPS_2M BIT(34)
#define VTD_CAP_SLLPS_1G BIT(35)
#define VTD_CAP_PSI BIT(39)
#define VTD_CAP_NFR BITS(47, 40)
#define VTD_CAP_MAMV BITS(53, 48)
#define VTD_CAP_DWD BIT(54)
#define VTD_CAP_DRD BIT(55)
#define VTD_ECAP 0x10
#define VTD_ECAP_C BIT(0)
#define VTD_ECAP_QI BIT(1)
#define VTD_ECAP_IR BIT(3)
#define VTD_ECAP_EIM BIT(4)
#define VTD_ECAP_SC BIT(7)
#define VTD_GCMD 0x18
#define VTD_GCMD_TE BIT(31)
#define VTD_GCMD_SRTP BIT(30)
#define VTD_GCMD_WBF BIT(27)
#define VTD_GCMD_QIE BIT(26)
#define VTD_GCMD_IRE BIT(25)
#define VTD_GCMD_SIRTP BIT(24)
#define VTD_GCMD_CFI BIT(23)
#define VTD_GSTS 0x1c
#define VTD_GSTS_TES BIT(31)
#define VTD_GSTS_RTPS BIT(30)
#define VTD_GSTS_WBFS BIT(27)
#define VTD_GSTS_QIES BIT(26)
#define VTD_GSTS_IRES BIT(25)
#define VTD_GSTS_IRTPS BIT(24)
#define VTD_GSTS_CFIS BIT(23)
/* Enables that a write of GCMD must repeat, or it turns them off; the others are one-shot commands. */
#define VTD_GSTS_ENABLES (VTD_GSTS_TES | VTD_GSTS_QIES | VTD_GSTS_IRES | VTD_GSTS_CFIS)
#define VTD_RTADDR 0x20
#define VTD_FSTS 0x34
#define VTD_FSTS_PFO BIT(0)
#define VTD_FSTS_PPF BIT(1)
#define VTD_FSTS_IQE BIT(4)
#define VTD_FSTS_ICE BIT(5)
#define VTD_FSTS_ITE BIT(6)
#define VTD_FSTS_QI_ERRORS (VTD_FSTS_IQE | VTD_FSTS_ICE | VTD_FSTS_ITE)
#define VTD_FSTS_FRI BITS(15, 8)
#define VTD_FECTL 0x38
#define VTD_FECTL_IM BIT(31)
#define VTD_FEDATA 0x3c
#define VTD_FEADDR 0x40
#define VTD_FEUADDR 0x44
#define VTD_PMEN 0x64
#define VTD_PMEN_EPM BIT(31)
#define VTD_PMEN_PRS BIT(0)
#define VTD_IQH 0x80
#define VTD_IQT 0x88
#define VTD_IQ_INDEX BITS(18, 4)
#define VTD_IQA 0x90
#define VTD_IRTA 0xb8
#define VTD_IRTA_EIME BIT(11)
#define VTD_IRTA_SIZE BITS(3, 0)
/* All registers named above lie below this; fault records lie where CAP.FRO says. */
#define VTD_REGS_SIZE 0xc0

/* A fault record: 16 bytes. The upper half's last 32 bits hold F, which is cleared by writing one. */
#define VTD_FRCD_SIZE 16
#define VTD_FRCD_HI 8
#define VTD_FRCD_TOP 12
#define VTD_FRCD_TOP_F BIT(31)
#define VTD_FRCD_HI_F BIT(63)
#define VTD_FRCD_HI_READ BIT(62)
#define VTD_FRCD_HI_REASON BITS(39, 32)
#define VTD_FRCD_HI_SID BITS(15, 0)
#define VTD_FRCD_LO_ADDR BITS(63, 12)
#define VTD_FRCD_LO_INDEX BITS(63, 48) /* interrupt faults: index of the IRTE */
#define VTD_REASON_IR_FIRST 0x20
#define VTD_REASON_IR_LAST 0x2f

static inline u32 vtd_frcd_offset(u64 cap, u32 i) { return (u32)FIELD_GET(VTD_CAP_FRO, cap) * 16 + i * VTD_FRCD_SIZE; }
static inline u32 vtd_frcd_count(u64 cap) { return (u32)FIELD_GET(VTD_CAP_NFR, cap) + 1; }
/* Input address width in bits; number of domain ids. */
static inline u32 vtd_cap_width(u64 cap) { return (u32)FIELD_GET(VTD_CAP_MGAW, cap) + 1; }
static inline u32 vtd_cap_domains(u64 cap) { return 16u << 2 * FIELD_GET(VTD_CAP_ND, cap); }
/* True if second-level tables of that many levels are supported (SAGAW: bit 1 = 3 levels, bit 2 = 4, bit 3 = 5). */
static inline bool vtd_cap_levels(u64 cap, u32 levels) { return FIELD_GET(VTD_CAP_SAGAW, cap) >> (levels - 2) & 1; }

/* ---- 128-bit entries ---- */
struct vtd_entry { u64 lo, hi; } __aligned_to(16);
_Static_assert(sizeof(struct vtd_entry) == 16, "root and context entries, IRTEs and descriptors are 128 bits");

#define VTD_ENTRY_PRESENT BIT(0)
#define VTD_TABLE_ADDR BITS(63, 12)

/* Root Entry: one per bus. */
static inline struct vtd_entry vtd_root_entry(hpa_t contexts)
{
	return (struct vtd_entry){ .lo = (contexts.v & VTD_TABLE_ADDR) | VTD_ENTRY_PRESENT };
}

#define VTD_CTX_AW BITS(2, 0)
#define VTD_CTX_DID BITS(23, 8)
/* Context Entry: translated by second-level tables (TT = 00b, which also refuses what a device claims to have translated). */
static inline struct vtd_entry vtd_context_entry(hpa_t tables, u32 levels, u16 domain_id)
{
	return (struct vtd_entry){
		.lo = (tables.v & VTD_TABLE_ADDR) | VTD_ENTRY_PRESENT,
		.hi = FIELD_PREP(VTD_CTX_AW, levels - 2) | FIELD_PREP(VTD_CTX_DID, domain_id),
	};
}

/* Second-Level Paging Entries. SNP may be set only where ECAP.SC is. */
#define VTD_SL_READ BIT(0)
#define VTD_SL_WRITE BIT(1)
#define VTD_SL_LARGE BIT(7)
#define VTD_SL_SNOOP BIT(11)
#define VTD_SL_FMT ((struct ptab_fmt){ \
	.name = "VT-d second level", \
	.present = VTD_SL_READ | VTD_SL_WRITE, \
	.page_size = VTD_SL_LARGE, \
	.table_flags = VTD_SL_READ | VTD_SL_WRITE, \
	.addr_mask = BITS(51, 12), \
})

/* ---- interrupt remapping ---- */
#define VTD_IRTE_VECTOR BITS(23, 16)
#define VTD_IRTE_DEST BITS(63, 32)
#define VTD_IRTE_DEST_XAPIC BITS(47, 40)
#define VTD_IRTE_HI_SID BITS(15, 0)
#define VTD_IRTE_HI_SVT BITS(19, 18)
#define VTD_SVT_SID 1 /* all 16 bits of the requester ID are compared (SQ = 00b) */

/* Remapped-format IRTE: fixed, edge, physical destination; accepted from rid only. */
static inline struct vtd_entry vtd_irte(rid_t rid, u32 apic_id, u8 vector, bool eime)
{
	return (struct vtd_entry){
		.lo = VTD_ENTRY_PRESENT | FIELD_PREP(VTD_IRTE_VECTOR, vector) |
		      (eime ? FIELD_PREP(VTD_IRTE_DEST, apic_id) : FIELD_PREP(VTD_IRTE_DEST_XAPIC, apic_id)),
		.hi = FIELD_PREP(VTD_IRTE_HI_SID, rid.v) | FIELD_PREP(VTD_IRTE_HI_SVT, VTD_SVT_SID),
	};
}

/* IRTA: table of 2^order entries, order 1..16. */
static inline u64 vtd_irta(hpa_t table, u32 order, bool eime)
{
	return (table.v & VTD_TABLE_ADDR) | FIELD_PREP(VTD_IRTA_SIZE, order - 1) | (eime ? VTD_IRTA_EIME : 0);
}

#define VTD_MSI_BASE 0xfee00000ull
#define VTD_MSI_END 0xfef00000ull /* first address after the interrupt range */
#define VTD_MSI_REMAPPABLE BIT(4)
#define VTD_MSI_HANDLE_LO BITS(19, 5)
#define VTD_MSI_HANDLE_15 BIT(2)
#define VTD_MSI_DEST BITS(19, 12)
/* Remappable-format MSI address, subhandle not valid: data is ignored (Programming in MSI/MSI-X Capability). */
static inline u64 vtd_msi_remappable(u16 handle)
{
	return VTD_MSI_BASE | VTD_MSI_REMAPPABLE | FIELD_PREP(VTD_MSI_HANDLE_LO, handle) | FIELD_PREP(VTD_MSI_HANDLE_15, handle >> 15);
}
/* Compatibility-format MSI, for the unit's own events, which are not remapped. The upper part counts in x2APIC mode only. */
static inline u32 vtd_msi_direct(u32 apic_id) { return (u32)(VTD_MSI_BASE | FIELD_PREP(VTD_MSI_DEST, apic_id)); }
static inline u32 vtd_msi_direct_upper(u32 apic_id) { return apic_id & ~0xffu; }

/* ---- queued invalidation (Invalidation Queue Interface) ---- */
#define VTD_INV_TYPE BITS(3, 0)
enum { VTD_INV_CONTEXT = 1, VTD_INV_IOTLB = 2, VTD_INV_IEC = 4, VTD_INV_WAIT = 5 };
#define VTD_INV_GRANULARITY BITS(5, 4)
enum { VTD_GRAN_GLOBAL = 1, VTD_GRAN_DOMAIN = 2, VTD_GRAN_DEVICE = 3, VTD_GRAN_PAGE = 3 };
#define VTD_INV_DID BITS(31, 16)
#define VTD_INV_SID BITS(47, 32)
#define VTD_INV_IOTLB_DW BIT(6)
#define VTD_INV_IOTLB_DR BIT(7)
#define VTD_INV_IOTLB_HI_AM BITS(5, 0)
#define VTD_INV_IEC_SELECTIVE BIT(4)
#define VTD_INV_IEC_INDEX BITS(47, 32)
#define VTD_INV_WAIT_SW BIT(5)
#define VTD_INV_WAIT_FN BIT(6)
#define VTD_INV_WAIT_DATA BITS(63, 32)

static inline struct vtd_entry vtd_inv_context_all(void)
{
	return (struct vtd_entry){ .lo = VTD_INV_CONTEXT | FIELD_PREP(VTD_INV_GRANULARITY, VTD_GRAN_GLOBAL) };
}
static inline struct vtd_entry vtd_inv_context_device(u16 domain_id, rid_t rid)
{
	return (struct vtd_entry){ .lo = VTD_INV_CONTEXT | FIELD_PREP(VTD_INV_GRANULARITY, VTD_GRAN_DEVICE) |
	                                 FIELD_PREP(VTD_INV_DID, domain_id) | FIELD_PREP(VTD_INV_SID, rid.v) };
}
/* Draining of earlier reads and writes is asked for wherever the unit has it. */
static inline u64 vtd_inv_drain(u64 cap)
{
	return (cap & VTD_CAP_DWD ? VTD_INV_IOTLB_DW : 0) | (cap & VTD_CAP_DRD ? VTD_INV_IOTLB_DR : 0);
}
static inline struct vtd_entry vtd_inv_iotlb_all(u64 cap)
{
	return (struct vtd_entry){ .lo = VTD_INV_IOTLB | FIELD_PREP(VTD_INV_GRANULARITY, VTD_GRAN_GLOBAL) | vtd_inv_drain(cap) };
}
static inline struct vtd_entry vtd_inv_iotlb_domain(u64 cap, u16 domain_id)
{
	return (struct vtd_entry){ .lo = VTD_INV_IOTLB | FIELD_PREP(VTD_INV_GRANULARITY, VTD_GRAN_DOMAIN) | vtd_inv_drain(cap) |
	                                 FIELD_PREP(VTD_INV_DID, domain_id) };
}
/* 2^am pages from iova, which is aligned to that; paging-structure caches are included (IH = 0). */
static inline struct vtd_entry vtd_inv_iotlb_pages(u64 cap, u16 domain_id, iova_t iova, u32 am)
{
	return (struct vtd_entry){ .lo = VTD_INV_IOTLB | FIELD_PREP(VTD_INV_GRANULARITY, VTD_GRAN_PAGE) | vtd_inv_drain(cap) |
	                                 FIELD_PREP(VTD_INV_DID, domain_id),
	                           .hi = (iova.v & VTD_TABLE_ADDR) | FIELD_PREP(VTD_INV_IOTLB_HI_AM, am) };
}
static inline struct vtd_entry vtd_inv_iec_all(void) { return (struct vtd_entry){ .lo = VTD_INV_IEC }; }
static inline struct vtd_entry vtd_inv_iec_one(u16 index)
{
	return (struct vtd_entry){ .lo = VTD_INV_IEC | VTD_INV_IEC_SELECTIVE | FIELD_PREP(VTD_INV_IEC_INDEX, index) };
}
/* Store value at status when all earlier descriptors are done; with fence, later ones begin only then. */
static inline struct vtd_entry vtd_inv_wait(hpa_t status, u32 value, bool fence)
{
	return (struct vtd_entry){ .lo = VTD_INV_WAIT | VTD_INV_WAIT_SW | (fence ? VTD_INV_WAIT_FN : 0) | FIELD_PREP(VTD_INV_WAIT_DATA, value),
	                           .hi = status.v };
}

#endif
