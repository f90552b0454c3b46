// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Looks for reasons why stopping a function would hurt. Reads only; nothing is opened that has side effects.
///
/// sysfs links lead from a block device, a network interface, a card to the function that carries it; /proc tells who
/// uses what. Evidence of one thing goes to every endpoint on its path, so a disk behind a VMD controller protects both.
struct UseReader {
    private let options: LiveReader.Options

    init(options: LiveReader.Options) { self.options = options }

    /// Adds the evidence to the functions of `record`, and what could not be seen to its gaps.
    func read(into record: inout MachineRecord) {
        guard let sysfs = try? Directory(path: options.sysfs), let proc = try? Directory(path: options.procfs) else {
            record.gaps.append(
                ReadingGap(code: "use-unseen", detail: "sysfs or procfs is missing: nothing is known of use")
            )
            return
        }
        var findings = UseFindings(record)
        BlockUse.read(sysfs, proc, runPath: options.run, &findings)
        let ssh = options.sshConnection ?? OperatorSession.connection(proc)
        NetworkUse.read(sysfs, proc, sshConnection: ssh, &findings)
        DisplayUse.read(sysfs, &findings)
        PeripheralUse.read(sysfs, proc, commandLine: record.kernel.commandLine, &findings)
        DeviceHolders.read(sysfs, proc, &findings)
        PlatformUse.read(sysfs, &findings)
        ExpressLinkMemoryUse.read(sysfs, &findings)
        findings.finish(&record)
    }
}

/// What was found so far.
struct UseFindings {
    /// The functions of the record by address.
    let functions: [FunctionAddress: FunctionRecord]
    private var evidence: [FunctionAddress: [UseEvidence]] = [:]
    private(set) var gaps: [ReadingGap] = []

    init(_ record: MachineRecord) {
        functions = Dictionary(record.functions.map { ($0.address, $0) }) { first, _ in first }
    }

    /// The endpoints on a device path like `../../devices/pci0000:00/0000:00:03.0/virtio2/net/eth0`, deepest last.
    func endpoints(on path: String) -> [FunctionAddress] {
        path.split(separator: "/").compactMap { part in
            guard part.utf8.count >= 12, let address = FunctionAddress(parsing: part), let f = functions[address],
                f.config.headerLayout != 1
            else { return nil }
            return address
        }
    }

    /// Adds evidence to a function; the same twice counts once.
    mutating func add(_ address: FunctionAddress, _ found: UseEvidence) {
        guard functions[address] != nil, evidence[address]?.contains(found) != true else { return }
        evidence[address, default: []].append(found)
    }

    /// Adds evidence to every endpoint on a device path; false when there is none.
    @discardableResult
    mutating func add(path: String, _ found: UseEvidence) -> Bool {
        let addresses = endpoints(on: path)
        for address in addresses { add(address, found) }
        return !addresses.isEmpty
    }

    /// Says what could not be seen.
    mutating func gap(_ code: String, _ detail: String) {
        guard !gaps.contains(where: { $0.code == code }) else { return }
        gaps.append(ReadingGap(code: code, detail: detail))
    }

    /// Puts everything into the record.
    func finish(_ record: inout MachineRecord) {
        for i in record.functions.indices {
            record.functions[i].use += evidence[record.functions[i].address] ?? []
        }
        record.gaps += gaps
    }
}

extension UseEvidence {
    /// Evidence that protects: stopping the function would hurt now.
    static func vital(_ code: String, _ detail: String) -> UseEvidence {
        UseEvidence(code: code, detail: detail, isProtected: true, weight: 1000)
    }

    /// Evidence that counts and does not forbid.
    static func use(_ code: String, _ detail: String, weight: Int) -> UseEvidence {
        UseEvidence(code: code, detail: detail, isProtected: false, weight: weight)
    }
}
