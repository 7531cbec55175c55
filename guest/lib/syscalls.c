/*
 * What newlib asks of the system below it, and printf without floating point (newlib is built without SSE, so only its
 * integer family exists).
 */
#include "guest/lib/console.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/lib/memory.h"
#include "guest/lib/nest.h"

int kill(int pid, int sig);

int printf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = viprintf(fmt, ap);
	va_end(ap);
	return n;
}

int vprintf(const char *fmt, va_list ap) { return viprintf(fmt, ap); }

void *sbrk(ptrdiff_t increment) { return memory_sbrk(increment); }

_READ_WRITE_RETURN_TYPE write(int fd, const void *buf, size_t len)
{
	(void)fd;
	console_write(buf, len);
	return (_READ_WRITE_RETURN_TYPE)len;
}

_READ_WRITE_RETURN_TYPE read(int fd, void *buf, size_t len)
{
	(void)fd;
	(void)buf;
	(void)len;
	return 0; /* end of file */
}

int fstat(int fd, struct stat *st)
{
	(void)fd;
	*st = (struct stat){ .st_mode = S_IFCHR };
	return 0;
}

int isatty(int fd) { return fd <= 2; }
int close(int fd) { (void)fd; return -1; }
off_t lseek(int fd, off_t offset, int whence) { (void)fd; (void)offset; (void)whence; return -1; }
pid_t getpid(void) { return 1; }
int kill(pid_t pid, int sig) { (void)pid; panic("signal %d", sig); }
void _exit(int status) { nest_exit((u8)status); }
