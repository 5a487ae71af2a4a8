# A boot sector that says `>` on the first serial line and every key that it gets, and takes the machine off half a second
# after an exclamation mark: by ACPI's port of QEMU's PC machines.
        .code16
        .globl _start
_start: xorw %ax,%ax
        movw %ax,%ds
        movw %ax,%ss
        movw $0x7c00,%sp
        sti
        movb $'>',%al
        call write
next:   xorb %ah,%ah
        int $0x16
        cmpb $'!',%al
        jne 2f
        movw 0x46c,%bx
        addw $8,%bx
3:      hlt
        cmpw 0x46c,%bx
        ja 3b
        movw $0x604,%dx
        movw $0x2000,%ax
        outw %ax,%dx
2:      call write
        jmp next
write:  pushw %ax
        movw $0x3fd,%dx
1:      inb %dx,%al
        testb $0x20,%al
        jz 1b
        popw %ax
        movw $0x3f8,%dx
        outb %al,%dx
        ret
        .org 510
        .word 0xaa55
