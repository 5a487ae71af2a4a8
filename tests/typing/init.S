# The first process of a Linux guest: writes the lines that are typed on its console to the first serial line.
        .globl  _start
_start: leaq    console(%rip), %rdi
        xorl    %esi, %esi
        call    open
        movl    %eax, %r12d
        leaq    serial(%rip), %rdi
        movl    $0x101, %esi            # O_WRONLY | O_NOCTTY
        call    open
        movl    %eax, %r13d
        leaq    ready(%rip), %rsi
        movl    $1, %edx
        jmp     2f
1:      xorl    %eax, %eax              # read
        movl    %r12d, %edi
        leaq    buffer(%rip), %rsi
        movl    $4096, %edx
        syscall
        movl    %eax, %edx
        leaq    buffer(%rip), %rsi
2:      movl    $1, %eax                # write
        movl    %r13d, %edi
        syscall
        jmp     1b

open:   movl    $2, %eax
        syscall
        ret
console: .asciz "/dev/tty1"
serial: .asciz  "/dev/ttyS0"
ready:  .ascii  ">"
        .bss
buffer: .space  4096
