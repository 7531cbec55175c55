/*
 * A 16550A UART as guests find it (PC16550D data sheet, Registers; reset values from its table "UART Reset
 * Configuration"). A character that is written is printed at once, so the transmitter is always empty again when the
 * write returns. What arrives waits behind the receiver, as if the sender knew when to stop, so the receiver never overruns. The
 * interrupt line is not gated by OUT2: guests that forget it work as well.
 *
 * Invariant: the line at the I/O APIC is high exactly while an enabled interrupt is pending; it falls and rises again
 * between two characters that are sent, and without FIFOs between two that are received, so that an edge-triggered pin sees
 * each. What a VM does not read takes VUART_INPUT bytes, never more. The uart's lock protects the registers and the
 * VM's console line; it is held while the I/O APIC's and the console's are taken.
 */
#include "core/vuart.h"

#include "core/errno.h"
#include "core/vioapic.h"

/* Register offsets; 0 and 1 are the divisor latch while LCR.DLAB is set. */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR, NR_REGS };

#define IER_RX BIT(0)
#define IER_THRE BIT(1)
#define IER_ALL 0x0f
#define IIR_NONE 0x01
#define IIR_THRE 0x02
#define IIR_RX 0x04
#define IIR_FIFOS 0xc0
#define FCR_ENABLE BIT(0)
#define FCR_CLEAR_RX BIT(1)
#define LCR_DLAB BIT(7)
#define MCR_DTR BIT(0)
#define MCR_RTS BIT(1)
#define MCR_OUT1 BIT(2)
#define MCR_OUT2 BIT(3)
#define MCR_LOOP BIT(4)
#define MCR_ALL 0x1f
#define LSR_DR BIT(0)
#define LSR_THRE BIT(5)
#define LSR_TEMT BIT(6)
#define MSR_CTS BIT(4)
#define MSR_DSR BIT(5)
#define MSR_RI BIT(6)
#define MSR_DCD BIT(7)

#define VUART_INPUT 1024u

struct vuart {
	spinlock_t lock;
	struct vm *vm;
	u8 ier, lcr, mcr, scr, dll, dlm;
	u8 rbr;              /* what loop-back mode sent to itself; the outside is cut off then */
	bool fifos, looped;  /* looped: rbr has not been read */
	u32 in_head, in_len; /* input: first of in_len characters in the ring */
	u8 input[VUART_INPUT];
	bool thre_pending;   /* raised by an empty transmitter, cleared by reading IIR or by writing data */
};

_Static_assert(sizeof(struct vuart) <= PAGE_SIZE, "one page");

static bool data_ready(const struct vuart *u) { return u->mcr & MCR_LOOP ? u->looped : u->in_len != 0; }

static u8 iir(const struct vuart *u)
{
	if (u->ier & IER_RX && data_ready(u))
		return IIR_RX;
	return u->ier & IER_THRE && u->thre_pending ? IIR_THRE : IIR_NONE;
}

static void update_line(struct vuart *u)
{
	vioapic_set_pin(u->vm, VUART_IRQ, iir(u) != IIR_NONE);
}

/* Modem status; in loop-back mode the control outputs are wired to the inputs. Otherwise: a listener is always there. */
static u8 modem_status(const struct vuart *u)
{
	if (!(u->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (u8)((u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) | (u->mcr & MCR_OUT1 ? MSR_RI : 0) |
		    (u->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static u8 take(struct vuart *u)
{
	if (u->mcr & MCR_LOOP) {
		u->looped = false;
		return u->rbr;
	}
	u8 c = u->input[u->in_head];
	u->in_head = (u->in_head + 1) % VUART_INPUT;
	u->in_len--;
	return c;
}

static u8 read_data(struct vuart *u)
{
	if (!data_ready(u))
		return 0;
	u8 c = take(u);
	if (!u->fifos)
		vioapic_set_pin(u->vm, VUART_IRQ, false); /* the next one arrives */
	update_line(u);
	return c;
}

static u8 read_iir(struct vuart *u)
{
	u8 v = iir(u);
	if (v == IIR_THRE)
		u->thre_pending = false;
	update_line(u);
	return v | (u->fifos ? IIR_FIFOS : 0);
}

static u8 read_reg(struct vuart *u, u64 reg)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA: return dlab ? u->dll : read_data(u);
	case REG_IER: return dlab ? u->dlm : u->ier;
	case REG_IIR_FCR: return read_iir(u);
	case REG_LCR: return u->lcr;
	case REG_MCR: return u->mcr;
	case REG_LSR: return LSR_THRE | LSR_TEMT | (data_ready(u) ? LSR_DR : 0);
	case REG_MSR: return modem_status(u);
	default: return u->scr;
	}
}

static void write_data(struct vuart *u, u8 c)
{
	u->thre_pending = false;
	update_line(u);
	if (u->mcr & MCR_LOOP) {
		u->rbr = c;
		u->looped = true;
	} else {
		console_vm_putc(&u->vm->console, (char)c);
	}
	u->thre_pending = true;
	update_line(u);
}

static void write_ier(struct vuart *u, u8 value)
{
	if (value & IER_THRE && !(u->ier & IER_THRE))
		u->thre_pending = true; /* enabling it with an empty transmitter interrupts */
	u->ier = value & IER_ALL;
	update_line(u);
}

static void write_fcr(struct vuart *u, u8 value)
{
	u->fifos = value & FCR_ENABLE;
	if (value & FCR_CLEAR_RX) {
		u->looped = false;
		u->in_len = 0;
	}
	update_line(u);
}

static void write_mcr(struct vuart *u, u8 value)
{
	if (!(value & MCR_LOOP))
		u->looped = false;
	u->mcr = value & MCR_ALL;
	update_line(u);
}

static void write_reg(struct vuart *u, u64 reg, u8 value)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab)
			u->dll = value;
		else
			write_data(u, value);
		break;
	case REG_IER:
		if (dlab)
			u->dlm = value;
		else
			write_ier(u, value);
		break;
	case REG_IIR_FCR: write_fcr(u, value); break;
	case REG_LCR: u->lcr = value; break;
	case REG_MCR: write_mcr(u, value); break;
	case REG_SCR: u->scr = value; break;
	default: break; /* LSR and MSR: read only */
	}
}

/* An 8-bit device: wider accesses are taken byte by byte, as a bus would split them. */
static u64 vuart_read(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	struct vuart *u = dev;
	u64 value = 0;

	(void)v;
	spin_lock(&u->lock);
	for (u32 i = 0; i < size; i++)
		value |= (u64)read_reg(u, offset + i) << i * 8;
	spin_unlock(&u->lock);
	return value;
}

static void vuart_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	struct vuart *u = dev;

	(void)v;
	spin_lock(&u->lock);
	for (u32 i = 0; i < size; i++)
		write_reg(u, offset + i, (u8)(value >> i * 8));
	spin_unlock(&u->lock);
}

static const struct vdev_ops vuart_ops = { .read = vuart_read, .write = vuart_write };

int vuart_create(struct vm *vm)
{
	struct vuart *u = page_alloc(&vm->owner);
	if (!u)
		return -ENOMEM;
	u->vm = vm;
	u->dll = 1; /* 115200 baud */
	vm->uart = u;
	return vdev_add(&vm->pio, VUART_PORT, NR_REGS, &vuart_ops, u);
}

void vuart_destroy(struct vm *vm)
{
	if (vm->uart)
		page_free(&vm->owner, vm->uart);
	vm->uart = NULL;
}

int vuart_input(struct vm *vm, const char *text, u32 len)
{
	struct vuart *u = vm->uart;

	if (!u)
		return -ENOSPC;
	spin_lock(&u->lock);
	bool room = len <= VUART_INPUT - u->in_len;
	for (u32 i = 0; room && i < len; i++)
		u->input[(u->in_head + u->in_len++) % VUART_INPUT] = (u8)text[i];
	update_line(u);
	spin_unlock(&u->lock);
	return room ? 0 : -ENOSPC;
}

void vuart_flush(struct vm *vm)
{
	if (!vm->uart)
		return;
	spin_lock(&vm->uart->lock);
	console_vm_flush(&vm->console);
	spin_unlock(&vm->uart->lock);
}
