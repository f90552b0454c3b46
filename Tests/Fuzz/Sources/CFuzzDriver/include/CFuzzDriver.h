/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CFUZZDRIVER_H
#define CFUZZDRIVER_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's own entry; `body` is called with every input. */
int LLVMFuzzerRunDriver(int *count, char ***arguments, int (*body)(const uint8_t *bytes, size_t size));

/* Runs libFuzzer with the arguments of the process. */
int run_fuzzer(int count, char **arguments, int (*body)(const uint8_t *bytes, size_t size));

#endif
