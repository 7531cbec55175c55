/*
 * The system calls that newlib refers to. The hypervisor uses of newlib what needs no system: strings and formatting into
 * buffers; its streams and malloc get an error here, whoever calls them.
 */
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

void *sbrk(ptrdiff_t n)
{
	(void)n;
	return (void *)-1;
}

int close(int fd)
{
	(void)fd;
	return -1;
}

off_t lseek(int fd, off_t offset, int whence)
{
	(void)fd;
	(void)offset;
	(void)whence;
	return -1;
}

_READ_WRITE_RETURN_TYPE read(int fd, void *buf, size_t n)
{
	(void)fd;
	(void)buf;
	(void)n;
	return -1;
}

_READ_WRITE_RETURN_TYPE write(int fd, const void *buf, size_t n)
{
	(void)fd;
	(void)buf;
	(void)n;
	return -1;
}
