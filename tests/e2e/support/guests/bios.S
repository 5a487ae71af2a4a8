# An operating system and its installer, in one boot sector. Started from anything but the first disk it says "from-cd"
# on the serial port, writes itself to the first sector of that disk, and resets the machine. Started from the disk it
# says "has-tpm" and "has-floppy" where there is one, "from-disk" in any case, and switches the machine off when the power button is pressed.
#
#   as --32 -o bios.o bios.S && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o bios.bin bios.o

        .code16
        .globl  _start
_start: xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        ljmp    $0, $1f
1:      cmpb    $0x80, %dl
        je      installed

        movw    $from_cd, %si
        call    say
        # BIOS: write one sector, cylinder 0, head 0, sector 1.
        movw    $0x0301, %ax
        movw    $0x0001, %cx
        movw    $0x0080, %dx
        movw    $0x7c00, %bx
        int     $0x13
        movw    $failed, %si
        jc      stop
        # The keyboard controller resets the processor.
        movb    $0xfe, %al
        outb    %al, $0x64
        hlt

installed:
        # ACPI's power management registers are at 0x600: enable the button, wait for its bit, go to sleep state 5.
        movw    $0x602, %dx
        movw    $0x100, %ax
        outw    %ax, %dx
        # BIOS: is there a TPM (TCG PC client specific implementation, TCG_StatusCheck)?
        movl    $0xbb00, %eax
        xorl    %ebx, %ebx
        int     $0x1a
        testl   %eax, %eax
        jnz     1f
        cmpl    $0x41504354, %ebx
        jne     1f
        movw    $has_tpm, %si
        call    say
1:
        # BIOS: read the first sector of the first floppy.
        movw    $0x0201, %ax
        movw    $0x0001, %cx
        xorw    %dx, %dx
        movw    $0x8000, %bx
        int     $0x13
        jc      1f
        movw    $has_floppy, %si
        call    say
1:      movw    $from_disk, %si
        call    say
1:      hlt
        movw    $0x600, %dx
        inw     %dx, %ax
        testb   $1, %ah
        jz      1b
        movw    $0x604, %dx
        movw    $0x2000, %ax
        outw    %ax, %dx
        hlt

stop:   call    say
1:      hlt
        jmp     1b

say:    movw    $0x3f8, %dx
1:      lodsb
        testb   %al, %al
        jz      2f
        outb    %al, %dx
        jmp     1b
2:      ret

from_cd:
        .asciz  "from-cd\r\n"
from_disk:
        .asciz  "from-disk\r\n"
has_tpm:
        .asciz  "has-tpm\r\n"
has_floppy:
        .asciz  "has-floppy\r\n"
failed: .asciz  "cannot write the disk\r\n"
        .org    510
        .word   0xaa55
