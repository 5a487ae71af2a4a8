# A boot sector that runs a little of everything a kernel's start runs: real mode, protected mode, long mode with
# paging, a few privileged instructions, and enough arithmetic that an accelerator which only emulates takes seconds.
# It says "rimg-ok" on the firmware's debug port when it gets through.
#
#   as --32 -o probe.o probe.S && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o probe.bin probe.o

        .code16
        .globl  _start
_start: cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        movl    $200000, %ecx
1:      decl    %ecx
        jnz     1b
        lgdtl   descriptor
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $0x08, $protected

        .code32
protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $20000000, %ecx
1:      decl    %ecx
        jnz     1b
        # One page of 2 MiB, mapped onto itself, through three tables at 0x1000.
        movl    $0x1000, %edi
        xorl    %eax, %eax
        movl    $0xc00, %ecx
        cld
        rep stosl
        movl    $0x2003, 0x1000
        movl    $0x3003, 0x2000
        movl    $0x0083, 0x3000
        movl    %cr4, %eax
        orl     $0x20, %eax
        movl    %eax, %cr4
        movl    $0x1000, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000000, %eax
        movl    %eax, %cr0
        ljmpl   $0x18, $long

# as --32 knows no .code64 operands wider than 32 bits; none are needed.
        .code64
long:
        movl    $20000000, %ecx
1:      subl    $1, %ecx
        jnz     1b
        xorl    %eax, %eax
        cpuid
        movl    $message, %esi
        movl    $8, %ecx
        movw    $0x402, %dx
        rep outsb
1:      hlt
        jmp     1b

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9a000000ffff
        .quad   0x00cf92000000ffff
        .quad   0x00af9a000000ffff
descriptor:
        .word   31
        .long   gdt
message:
        .ascii  "rimg-ok\n"
        .org    510
        .word   0xaa55
