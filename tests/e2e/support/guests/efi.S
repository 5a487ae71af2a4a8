# An EFI application, without any library: it says "efi-started" on the first serial port, through the processor's ports,
# and goes off when the power button is pressed. The file is a PE32+ image (Microsoft's PE format) written out by hand, with one section.
#
#   as --64 -o efi.o efi.S && ld -m elf_x86_64 -Ttext 0 --oformat binary -o efi.bin efi.o

        .set    FILE_ALIGN, 0x200
        .set    LOADED, 0x1000
        .code64
        .globl  _start
_start: .ascii  "MZ"
        .org    0x3c
        .long   0x40
        # COFF header: x86-64, one section, optional header of 112 bytes and 6 directories; executable.
        .org    0x40
        .ascii  "PE\0\0"
        .word   0x8664, 1
        .long   0, 0, 0
        .word   112 + 6 * 8, 0x22
        # Optional header: PE32+, entry point, image base, alignments, sizes, subsystem 10 (EFI application).
        .word   0x20b
        .byte   0, 0
        .long   FILE_ALIGN, 0, 0, LOADED, LOADED
        .quad   0
        .long   LOADED, FILE_ALIGN
        .word   0, 0, 0, 0, 0, 0
        .long   0, 2 * LOADED, FILE_ALIGN, 0
        .word   10, 0
        .quad   0x10000, 0x10000, 0, 0
        .long   0, 6
        .fill   6, 8, 0
        # The section, code and data in one.
        .ascii  ".text\0\0\0"
        .long   FILE_ALIGN, LOADED, FILE_ALIGN, FILE_ALIGN, 0, 0
        .word   0, 0
        .long   0xe0000020
        .org    FILE_ALIGN
        leaq    message(%rip), %rsi
        movw    $0x3f8, %dx
1:      lodsb
        testb   %al, %al
        jz      2f
        outb    %al, %dx
        jmp     1b
        # On q35 ACPI's power management registers are at 0x600: enable the button, wait for its bit, go to sleep state 5.
2:      movw    $0x602, %dx
        movw    $0x100, %ax
        outw    %ax, %dx
3:      pause
        movw    $0x600, %dx
        inw     %dx, %ax
        testb   $1, %ah
        jz      3b
        movw    $0x604, %dx
        movw    $0x2000, %ax
        outw    %ax, %dx
4:      hlt
        jmp     4b
message:
        .asciz  "\r\nefi-started\r\n"
        .org    2 * FILE_ALIGN
