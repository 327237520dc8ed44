/* SPDX-License-Identifier: BSD-2-Clause */
/* For loops that wait or spin. */
#ifndef RELAX_H
#define RELAX_H

/* QEMU runs all CPUs of a guest on one thread, which goes on to the next CPU here, and else after 100 ms. */
static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
