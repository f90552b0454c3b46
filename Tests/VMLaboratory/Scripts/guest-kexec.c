// SPDX-License-Identifier: GPL-2.0-or-later
//
// kexec: as much of kexec-tools as a plan's restart script asks for, by the same system calls as its `kexec -s`.
//
// kexec -l KERNEL --initrd=FILE --reuse-cmdline   loads a kernel
// kexec -e                                        starts it

#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fail(const char *what) {
    fprintf(stderr, "kexec: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int count, char **arguments) {
    if (count == 2 && !strcmp(arguments[1], "-e")) {
        sync();
        reboot(RB_KEXEC);
        return fail("cannot start the loaded kernel");
    }
    if (count != 5 || strcmp(arguments[1], "-l") || strncmp(arguments[3], "--initrd=", 9) ||
        strcmp(arguments[4], "--reuse-cmdline")) {
        fprintf(stderr, "usage: kexec -l KERNEL --initrd=FILE --reuse-cmdline | kexec -e\n");
        return 64;
    }
    int kernel = open(arguments[2], O_RDONLY);
    if (kernel < 0) return fail(arguments[2]);
    int initrd = open(arguments[3] + 9, O_RDONLY);
    if (initrd < 0) return fail(arguments[3] + 9);
    int file = open("/proc/cmdline", O_RDONLY);
    char line[4096];
    ssize_t length = file < 0 ? -1 : read(file, line, sizeof line - 1);
    if (length <= 0) return fail("/proc/cmdline");
    if (line[length - 1] == '\n') length--;
    line[length] = 0;
    if (syscall(SYS_kexec_file_load, kernel, initrd, (unsigned long)length + 1, line, 0UL)) return fail("cannot load");
    return 0;
}
