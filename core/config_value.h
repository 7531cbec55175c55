/*
 * The values of nestling.cfg's keys; shared by config.c (lines and sections) and config_value.c only.
 */
#ifndef CORE_CONFIG_VALUE_H
#define CORE_CONFIG_VALUE_H

#include "core/config.h"

struct cfg_parser {
	struct config *c;
	struct vm_config *vm;     /* of the section that is open, or NULL */
	struct switch_config *sw; /* the same, of a NIC's */
	u32 line;
	char *err;
	size_t errlen;
};

/* Write "nestling.cfg:LINE: ..." and return -EINVAL. */
int cfg_fail(struct cfg_parser *p, const char *fmt, ...) __printf_like(2, 3);
/* Cut blanks at both ends, in place. */
char *cfg_trim(char *s);
/* Take the next word off *rest (empty string: none left), in place. */
char *cfg_word(char **rest);
bool cfg_is_name_char(char c);

/* One per key: value is trimmed, not empty, and may be cut up. */
int cfg_set_on_last_exit(struct cfg_parser *p, char *value);
int cfg_set_trace(struct cfg_parser *p, char *value);
int cfg_set_fault_injection(struct cfg_parser *p, char *value);
int cfg_set_switch(struct cfg_parser *p, char *value);
int cfg_set_svid(struct cfg_parser *p, char *value);
int cfg_set_kernel(struct cfg_parser *p, char *value);
int cfg_set_module(struct cfg_parser *p, char *value);
int cfg_set_cmdline(struct cfg_parser *p, char *value);
int cfg_set_memory(struct cfg_parser *p, char *value);
int cfg_set_cpus(struct cfg_parser *p, char *value);
int cfg_set_vmx(struct cfg_parser *p, char *value);
int cfg_set_nic(struct cfg_parser *p, char *value);

#endif
