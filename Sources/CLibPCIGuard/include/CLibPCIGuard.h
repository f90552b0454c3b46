/* SPDX-License-Identifier: GPL-2.0-or-later */
int pci_rebalance_guard_placeholder(void);
