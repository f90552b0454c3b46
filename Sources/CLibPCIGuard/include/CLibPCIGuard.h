/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Whole libpci operations whose error exit is contained in C.
 *
 * libpci reports a fatal error through a callback that must not return. Here the callback jumps back into the function
 * that started the operation; only frames of C are ever left this way. The operation then cleans up and returns a
 * message. State is per thread while an operation runs and belongs to the caller in between.
 */
#ifndef PCI_REBALANCE_CLIBPCIGUARD_H
#define PCI_REBALANCE_CLIBPCIGUARD_H

#include <stddef.h>
#include <stdint.h>

/* The address of one function. */
struct pci_guard_address {
    uint32_t segment;
    uint8_t bus;
    uint8_t devfn;
};

/* What one function answered. */
struct pci_guard_function {
    struct pci_guard_address address;
    /* Where its bytes start in `pci_guard_table.bytes`. */
    uint32_t offset;
    /* How many bytes of configuration space could be read: 0, 64, 256 or 4096, anything up to that in a dump. */
    uint32_t count;
    /* Whether libpci warned while it read this function. */
    uint8_t warned;
};

/* What an operation found; owned by the caller, released with pci_guard_release. */
struct pci_guard_table {
    struct pci_guard_function *functions;
    size_t function_count;
    uint8_t *bytes;
    size_t byte_count;
    /* The fatal error that ended the operation, or empty. */
    char error[512];
    /* The last warning, or empty. */
    char warning[512];
};

/*
 * Reads the configuration space of the functions at `addresses` through the linux-sysfs method.
 *
 * sysfs_path: the directory that holds `devices/`, or NULL for libpci's default (/sys/bus/pci).
 * limit: 64, 256 or 4096; how many bytes to read at most.
 * Returns 0, or -1 with `table->error` set and nothing to release. A function that does not answer has count 0.
 */
int pci_guard_read_sysfs(const char *sysfs_path, const struct pci_guard_address *addresses, size_t address_count,
                         uint32_t limit, struct pci_guard_table *table);

/*
 * Reads every function of a register dump as lspci -x writes it.
 *
 * Returns 0, or -1 with `table->error` set and nothing to release: no such file, a line that libpci does not accept.
 */
int pci_guard_read_dump(const char *dump_path, struct pci_guard_table *table);

/* Releases what a successful operation handed out. */
void pci_guard_release(struct pci_guard_table *table);

/* An open libpci access for single reads and writes of registers; see pci_guard_open. */
struct pci_guard_access;

/* Opens linux-sysfs below `sysfs_path` (NULL: default) for reading and writing; NULL with `error` set. */
struct pci_guard_access *pci_guard_open(const char *sysfs_path, char *error, size_t error_size);

/* Reads `width` (1, 2, 4) bytes at `offset`; 0, or -1 with `error` set. */
int pci_guard_get(struct pci_guard_access *access, struct pci_guard_address address, uint32_t offset, uint32_t width,
                  uint32_t *value, char *error, size_t error_size);

/* Writes `width` (1, 2, 4) bytes at `offset`; 0, or -1 with `error` set. */
int pci_guard_put(struct pci_guard_access *access, struct pci_guard_address address, uint32_t offset, uint32_t width,
                  uint32_t value, char *error, size_t error_size);

/* Closes the access; never fails. */
void pci_guard_close(struct pci_guard_access *access);

/* An open list of names; see pci_guard_names_open. */
struct pci_guard_names;

/*
 * Opens the list of names at `path` (NULL: the one that libpci was built for, as a rule /usr/share/misc/pci.ids). Never
 * asks the network or udev. NULL with `error` set when there is no such list or it cannot be understood.
 */
struct pci_guard_names *pci_guard_names_open(const char *path, char *error, size_t error_size);

/* Puts the names of a vendor and its device into `text`, as lspci prints them; 1, or 0 when the vendor is not listed. */
int pci_guard_name(struct pci_guard_names *names, uint16_t vendor, uint16_t device, char *text, size_t size);

/* Closes the list; never fails. */
void pci_guard_names_close(struct pci_guard_names *names);

/* klogctl(3), which the system's Swift module leaves out. */
int pci_guard_kernel_log(int action, char *buffer, int size);

#endif
