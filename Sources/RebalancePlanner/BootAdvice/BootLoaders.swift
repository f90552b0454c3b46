// SPDX-License-Identifier: GPL-2.0-or-later

extension BootAdvice {
    /// One boot loader, and how its kernel command line is changed.
    public struct Instruction: Hashable, Sendable {
        /// The boot loader or tool.
        public var loader: String
        /// A command to run, or the place to edit as `edit` says.
        public var text: String
    }

    /// How the parameter is given to each boot loader; empty when nothing has to be changed.
    ///
    /// Commands replace the `pci=` parameter that is there now, as the running kernel was given it; nothing is executed.
    public var instructions: [Instruction] {
        guard isChange, !asItIs.isGood else { return [] }
        var grubby = "grubby --update-kernel=ALL"
        if let presentParameter { grubby += " --remove-args=\"\(presentParameter)\"" }
        if let parameter { grubby += " --args=\"\(parameter)\"" }
        var ostree = "rpm-ostree kargs"
        if let presentParameter { ostree += " --delete-if-present=\"\(presentParameter)\"" }
        if let parameter { ostree += " --append-if-missing=\"\(parameter)\"" }
        return [
            Instruction(
                loader: "GRUB",
                text: "GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub, then update-grub, or grub2-mkconfig -o "
                    + "/boot/grub2/grub.cfg"
            ),
            Instruction(loader: "grubby", text: grubby),
            Instruction(
                loader: "systemd-boot",
                text:
                    "/etc/kernel/cmdline, then kernel-install add-all, or the options line of the entry in loader/entries"
            ),
            Instruction(loader: "rpm-ostree", text: ostree),
            Instruction(loader: "NixOS", text: "boot.kernelParams, as one string in quotation marks"),
            Instruction(loader: "Raspberry Pi", text: "the one line of cmdline.txt"),
            Instruction(loader: "device tree", text: "bootargs of the node /chosen"),
        ]
    }

    /// What is to be done at the place that an instruction names: `write pci=realloc`; nil when nothing has to be changed.
    public var edit: String? {
        guard isChange, !asItIs.isGood else { return nil }
        switch (presentParameter, parameter) {
        case (nil, let new?): return "write \(new)"
        case (let old?, let new?): return "write \(new) in place of \(old)"
        case (let old?, nil): return "take out \(old)"
        case (nil, nil): return nil
        }
    }
}
