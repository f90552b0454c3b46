// SPDX-License-Identifier: GPL-2.0-or-later

extension ResourceDerivation {
    func appendVFBARs(to result: inout [Resource]) {
        guard ResourceNumbering(lineCount: lines.count) == .withVFs, lines.count >= 13 else { return }
        let total = capabilities.sriov?.totalVFs ?? evidence.totalVFs
        var isUpperHalf = false
        for number in 0..<6 {
            guard let index = ResourceIndex.vfBAR(number) else { continue }
            let shown = line(index)
            if ResourceKind(shown.flags) != nil {
                result.append(fromLine(index, shown, alignment: vfAlignment(shown, total)))
                isUpperHalf = shown.flags.contains(.memory64)
                continue
            }
            if isUpperHalf {
                isUpperHalf = false
                continue
            }
            guard let sriov = capabilities.sriov, sriov.totalVFs > 0,
                let bar = forgottenVFBAR(index, number, sriov)
            else { continue }
            result.append(bar)
            isUpperHalf = bar.flags.contains(.memory64)
        }
    }

    /// One VF BAR: the block divided by TotalVFs (`pci_iov_resource_size`).
    private func vfAlignment(_ shown: ResourceLine, _ total: Int?) -> ByteCount? {
        guard let total, total > 0, shown.end >= shown.start, shown.end - shown.start != .max else { return nil }
        let size = shown.end - shown.start + 1
        return size % UInt64(total) == 0 ? ByteCount(size / UInt64(total)) : nil
    }

    private func forgottenVFBAR(_ index: ResourceIndex, _ number: Int, _ sriov: SRIOVCapability) -> Resource? {
        guard !evidence.says(evidence.refuted, index), !evidence.says(evidence.untold, index) else { return nil }
        let value = sriov.barRegisters[number]
        let known = evidence.size(of: index)
        guard value != .max, value != 0 || known != nil else { return nil }
        var flags = value != 0 ? Self.flags(ofRegister: value) : known?.flags ?? Self.flags(ofRegister: 0)
        flags.remove(.io)
        var size = known?.size
        var source = known?.source ?? .unknown
        if known?.source != .probed,
            let one = capabilities.resizableVFBARs.first(where: { $0.bar == number })?.currentSize
        {
            let (product, overflow) = one.rawValue.multipliedReportingOverflow(by: UInt64(sriov.totalVFs))
            if !overflow {
                size = ByteCount(product)
                source = .resizableBAR
            }
        }
        let one = size.flatMap {
            $0.rawValue % UInt64(sriov.totalVFs) == 0 ? ByteCount($0.rawValue / UInt64(sriov.totalVFs)) : nil
        }
        return Resource(index: index, flags: flags, size: size, alignment: one, assignment: .wiped, sizeSource: source)
    }
}
