/*
 * libFuzzer: the emulated network device. An input is a program for a hostile guest and its other CPU: accesses to registers, configuration
 * space and memory, kicks, frames and END marks from the lower link, resets. The lower link checks how it is called (vnet_model.c), the
 * sanitizers what is touched: the hole in the guest's memory is poisoned.
 *
 * Invariant that is tested besides: whatever the guest did, after a reset the device works, and all memory is given back.
 */
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/errno.h"
#include "tests/unit/vnet_model.h"

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t len);

static const u8 *in, *in_end;
static u8 frame[16384];

void panic(const char *fmt, ...)
{
	fprintf(stderr, "panic: %s\n", fmt);
	abort();
}

#define CHECK(cond) do { if (!(cond)) panic("check failed: " #cond); } while (0)

static u64 take(u32 n)
{
	u64 v = 0;
	for (u32 i = 0; i < n; i++)
		v |= (u64)(in < in_end ? *in++ : 0) << i * 8;
	return v;
}

static u32 take_size(void) { return 1u << (take(1) & 3); }

/* Mostly where it hurts: in RAM, near its ends, in rings and data; sometimes anywhere. */
static u64 take_gpa(void)
{
	u64 v = take(3);
	switch (take(1) & 7) {
	case 0: return v << 44 | v;
	case 1: return MODEL_LOW - 64 + (v & 127);
	case 2: return MODEL_END - 64 + (v & 127);
	case 3: return MODEL_HIGH - 64 + (v & 127);
	case 4: return 0x10000 * (1 + v % 3) + (v >> 8 & 0x7fff);
	default: return DATA(v % 3, v >> 8 & 63) + (v >> 14 & 0xfff);
	}
}

static void put(u64 gpa, const void *bytes, u64 len)
{
	(void)!vm_write(&model_vm, GPA(gpa), bytes, len); /* outside RAM: a guest cannot either */
}

static void write_memory(void)
{
	u64 gpa = take_gpa(), n = take(1) & 31;
	while (n--) {
		u8 b = (u8)take(1);
		put(gpa++, &b, 1);
	}
}

static void write_desc(void)
{
	u32 q = (u32)take(1) % 3, i = (u32)take(1);
	u64 addr = take_gpa();
	u16 flags = (u16)take(1) & 7, len = (u16)take(2);
	struct virtq_desc d = { addr, flags & 1 ? len : len & 0xff0u, flags, (u16)take(1) };
	put(drvq[q].desc + i * sizeof(d), &d, sizeof(d));
}

static void post(void)
{
	struct drvq *q = &drvq[take(1) % 3];
	u16 head = (u16)take(1);
	if (!q->size)
		return;
	put(q->avail + 4 + q->posted % q->size * 2u, &head, 2);
	q->posted++;
	put(q->avail + 2, &q->posted, 2);
}

/* The guest's other CPU, once in a while. */
static u64 race_gpa;
static u32 race_value, race_after;
static void race(u64 gpa, u64 len)
{
	(void)gpa, (void)len;
	if (race_after && !--race_after)
		put(race_gpa, &race_value, 4);
}

static void frame_in(void)
{
	static const u8 *const to[] = { model_mac, all_mac, group_mac, peer_mac };
	u32 len = (u32)take(2) % 9300;
	frame_make(frame, MAX(len, 14u), to[take(1) & 3], peer_mac, len);
	int r = vnet_rx(model_dev, frame, len);
	CHECK(r == 0 || r == -EAGAIN);
}

static void more(void)
{
	for (u32 i = 0; i < 3 && !vnet_rx(model_dev, frame, 200); i++)
		;
	vnet_rx_flush(model_dev);
}

static u64 take_features(void)
{
	u64 f = take(4) & 0x308f8028;
	return (f & 8 ? f : 0x308f8028) | BIT(VIRTIO_F_VERSION_1);
}

static void set_up(void)
{
	u16 size = (u16)(1u << take(1) % 9);
	if (!drv_negotiate(take_features()))
		return;
	drv_msix();
	for (u32 q = 0; q < 3; q++) { /* usually as it should be, sometimes where the input says */
		u64 at = 0x10000 * (q + 1);
		bool odd = !(take(1) & 15);
		drv_queue(q, size, odd ? take_gpa() : at, at + 0x2000, odd ? take_gpa() : at + 0x4000);
	}
	reg_write(COMMON(device_status), 15);
}

/* Usually of the length that its command has. */
static void command_in(void)
{
	static const u8 usual[4] = { 1, 6, 2, 0 };
	u8 data[256];
	u32 class = (u32)take(1) % 4, cmd = (u32)take(1) % 3, len = (u32)take(1);
	if (class == VIRTIO_NET_CTRL_MAC && cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET && len & 1)
		len = 8 + (len >> 1) % 40 * 6;
	else if (len & 1)
		len = usual[class];
	for (u32 i = 0; i < len; i++)
		data[i] = (u8)take(1);
	if (class == VIRTIO_NET_CTRL_MAC && len >= 8 && data[0] & 1) { /* a table that is right */
		u32 n = (len - 8) / 6;
		memset(data, 0, 4);
		memcpy(data + 4, &n, 4);
	}
	if (drvq[2].size && drvq[2].desc == 0x30000 && drvq[2].used == 0x34000)
		(void)drv_command((u8)class, (u8)cmd, data, len);
}

static void ask(void)
{
	struct nest_nic_stats s;
	memset(&s, 0, sizeof(s));
	vnet_stats(model_dev, &s);
	CHECK(s.emu_tx_packets <= model_seen.frames);
	if (vnet_running(model_dev))
		CHECK(model_seen.started);
	vnet_rx_dropped(model_dev);
}

static void step(void)
{
	u32 offset, size;
	switch (take(1) % 20) {
	case 0: offset = (u32)take(2); size = take_size(); reg_write(offset & 0x3fff, size, take(size)); break;
	case 1: offset = (u32)take(2); (void)reg(offset & 0x3fff, take_size()); break;
	case 2: offset = (u32)take(1); size = take_size(); model_config_write(offset, size, (u32)take(size)); break;
	case 3: offset = (u32)take(2); (void)model_config(offset & 0xfff, take_size()); break;
	case 4:
		offset = (u32)take(2);
		size = take_size();
		model_store((model_config(0x14, 4) & ~15u) + (offset & 0xfff), size, take(size));
		break;
	case 5: offset = (u32)take(1) & 0x3f; size = take_size(); reg_write(offset, size, take(size)); break;
	case 6: write_memory(); break;
	case 7: case 8: case 9: write_desc(); break;
	case 10: case 11: post(); break;
	case 12: case 13: drv_kick_always((u32)take(1) % 4); break;
	case 14: frame_in(); break;
	case 15: vnet_rx_flush(model_dev); break;
	case 16: vnet_rx_end(model_dev); break;
	case 17: set_up(); break;
	case 18: race_gpa = take_gpa(); race_value = (u32)take(4); race_after = (u32)take(1); break;
	default:
		switch (take(1) % 5) {
		case 0: (void)vnet_fence(model_dev); break;
		case 1: vnet_changed(model_dev); break;
		case 2: command_in(); break;
		case 3: ask(); break;
		default: model_lower.more = take(1) & 1 ? more : NULL; break;
		}
	}
}

/* As if nothing had been. */
static void works(void)
{
	u32 id, n, sent;
	model_race = NULL;
	model_lower.more = NULL;
	model_config_write(0x10, 4, 0xc8000000);
	model_config_write(0x14, 4, 0xc9000000);
	model_config_write(4, 2, 6);
	CHECK(drv_start(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_EVENT_IDX), 8));
	sent = model_seen.frames;
	frame_make(frame, 60, peer_mac, model_mac, 1);
	drv_send(0, frame, 60);
	CHECK(drv_kick(1));
	CHECK(model_seen.frames == sent + 1 && drv_used(1, &id, &n));
	drv_give(0, 2048);
	frame_make(frame, 60, model_mac, peer_mac, 1);
	CHECK(!vnet_rx(model_dev, frame, 60) && drv_used(0, &id, &n) && n == 72);
}

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t len)
{
	in = bytes;
	in_end = bytes + len;
	__asan_unpoison_memory_region(model_ram + MODEL_LOW, MODEL_HIGH - MODEL_LOW);
	model_begin();
	__asan_poison_memory_region(model_ram + MODEL_LOW, MODEL_HIGH - MODEL_LOW);
	memset(drvq, 0, sizeof(drvq));
	race_after = 0;
	model_race = race;
	if (take(1) & 3) /* usually from a device that runs */
		set_up();
	for (u32 i = 0; in < in_end && i < 2000; i++)
		step();
	works();
	CHECK(!model_end() && !model_seen.started);
	return 0;
}
