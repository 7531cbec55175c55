/*
 * Error numbers, as they appear (negated) in RAX after a hypercall: part of the ABI, so they are fixed here and
 * equal Linux's numbers. Code inside the hypervisor returns them negated, too.
 */
#ifndef CORE_ERRNO_H
#define CORE_ERRNO_H

#define EPERM 1        /* policy or the caller's rights forbid it */
#define ENOENT 2       /* no such handle, port, file */
#define EIO 5          /* the hardware did not answer as specified */
#define EAGAIN 11      /* not now; the same call may succeed later */
#define ENOMEM 12      /* out of memory or table space */
#define EFAULT 14      /* address outside the caller's memory */
#define EBUSY 16       /* in use */
#define EEXIST 17      /* already there */
#define ENODEV 19      /* no such hardware */
#define EINVAL 22      /* an argument is malformed or out of range */
#define ENOSPC 28      /* no room in the caller's buffer */
#define ERANGE 34      /* number out of range */
#define ENOSYS 38      /* no such hypercall */
#define ENOTSUP 95     /* the hardware has no effect for it */
#define EALREADY 114   /* it is so already */
#define ETIMEDOUT 110  /* the hardware did not answer in time */

#endif
