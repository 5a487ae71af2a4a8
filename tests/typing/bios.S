# A boot sector that reads keys from the BIOS (int 16h) and writes them to the first serial line. With SLOW defined it takes
# no more keys for two ticks of the clock (110 ms) after every 16th.
        .code16
        .globl  _start
_start: xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        movb    $'>', %al
        call    write
next:   xorb    %ah, %ah
        int     $0x16
        call    write
        .ifdef  SLOW
        incb    count
        testb   $0x0f, count
        jnz     next
        movw    0x46c, %bx
        addw    $2, %bx
1:      hlt
        cmpw    0x46c, %bx
        ja      1b
        .endif
        jmp     next

write:  pushw   %ax
        movw    $0x3fd, %dx
1:      inb     %dx, %al
        testb   $0x20, %al
        jz      1b
        popw    %ax
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret
count:  .byte   0
        .org    510
        .word   0xaa55
