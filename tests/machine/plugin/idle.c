/*
 * Preloaded into Bochs: its screen's idle function does nothing.
 *
 * With several CPUs Bochs calls it on every turn in which one of them is halted, and the terminal's sleeps in select():
 * with three or four CPUs the machine then hardly moves. Idle time is held back by clock.c, for all CPUs together.
 * Invariant: nothing but this one function is replaced.
 */
void bochs_screen_idle(void) __asm__("_ZN13bx_term_gui_c11sim_is_idleEv");

void bochs_screen_idle(void)
{
}
