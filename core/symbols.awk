# Writes the symbol table (core/symbols.c) as assembly from `nm -n` of the linked image: functions only, by address.
# The image is linked at ffffffff80000000, so the last seven digits of an address are its offset.
BEGIN { n = at = 0 }
$2 ~ /^[tT]$/ && $1 ~ /^ffffffff8/ {
	offset[n] = "0x" substr($1, 10)
	name[n++] = $3
}
END {
	print "\t.section .symbols, \"a\"\n\t.globl symbol_table, symbol_count, symbol_names\n\t.balign 8"
	print "symbol_count:\n\t.long " n "\n\t.balign 8\nsymbol_table:"
	for (i = 0; i < n; i++) {
		print "\t.long " offset[i] ", " at
		at += length(name[i]) + 1
	}
	print "symbol_names:"
	for (i = 0; i < n; i++)
		print "\t.asciz \"" name[i] "\""
}
