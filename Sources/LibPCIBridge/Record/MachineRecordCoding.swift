// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// How a record is written down. Fields are written in the order of their names; unknown ones are passed over, so that a
// record of a later version can be read.

extension MachineRecord {
    /// The largest number of functions that a record may hold.
    public static let maximumFunctions = 16_384

    private static func lines(_ text: String) -> [String] {
        text.split(separator: "\n", omittingEmptySubsequences: true).map(String.init)
    }

    private static func text(_ lines: [String]) -> String { lines.map { $0 + "\n" }.joined() }

    /// Reads a record; see the JSON schema of snapshots.
    init(_ fields: inout JSONFields) throws(JSONError) {
        let word = try fields.text("origin")
        guard let origin = Origin(rawValue: word) else {
            throw fields.error("origin", "expected live, directory or text, found \(shown(word))")
        }
        self.init(origin: origin, kernel: try Self.kernel(&fields))
        guard fields.holds("functions") else { throw fields.error("functions", "expected an array, found none") }
        functions = try fields.objects("functions") { f throws(JSONError) in try FunctionRecord(&f) }
        guard functions.count <= Self.maximumFunctions else {
            let expected = "expected at most \(Self.maximumFunctions) functions, found \(functions.count)"
            throw fields.error("functions", expected)
        }
        functions.sort { $0.address < $1.address }
        for i in 1..<max(functions.count, 1) where functions[i].address == functions[i - 1].address {
            throw fields.error("functions", "function \(functions[i].address) appears twice")
        }
        buses = try fields.objects("buses") { f throws(JSONError) in try BusRecord(&f) }
        slots = try fields.objects("slots") { f throws(JSONError) in try SlotRecord(&f) }
        deviceOrder = try fields.functionsIfPresent("deviceOrder") ?? []
        nativeHotPlugPorts = try fields.functionsIfPresent("nativeHotPlugPorts")
        iomem = try fields.textsIfPresent("iomem").map(Self.text)
        ioports = try fields.textsIfPresent("ioports").map(Self.text)
        if fields.holds("firmwareMap") {
            firmwareMap = try fields.objects("firmwareMap") { f throws(JSONError) in try FirmwareMapEntry(&f) }
        }
        kernelLog = try fields.textsIfPresent("kernelLog")
        resourceAlignment = try fields.textIfPresent("resourceAlignment")
        if fields.holds("privileges") {
            var inner = try fields.object("privileges")
            privileges = try PrivilegeRecord(&inner)
        }
        namings = try fields.objects("addressNames") { f throws(JSONError) in
            AddressWord(word: try f.text("word"), address: try f.function("address"), place: try f.text("place"))
        }
        guard namings.count <= FileNamings.most else {
            throw fields.error("addressNames", "expected at most \(FileNamings.most), found \(namings.count)")
        }
        gaps = try fields.objects("gaps") { f throws(JSONError) in
            ReadingGap(code: try f.text("code"), detail: try f.text("detail"))
        }
    }

    private static func kernel(_ fields: inout JSONFields) throws(JSONError) -> KernelIdentity {
        guard fields.holds("kernel") else { return KernelIdentity() }
        var inner = try fields.object("kernel")
        var description: HardwareDescription?
        if let word = try inner.textIfPresent("hardwareDescription") {
            description = HardwareDescription(rawValue: word)
            guard description != nil else {
                let reason = "expected acpi, device-tree or opal, found \(shown(word))"
                throw inner.error("hardwareDescription", reason)
            }
        }
        return KernelIdentity(
            release: try inner.textIfPresent("release"),
            commandLine: try inner.textIfPresent("commandLine"),
            architecture: try inner.textIfPresent("architecture"),
            hardwareDescription: description
        )
    }

    /// Writes a record; see the JSON schema of snapshots.
    func write(to json: inout JSONWriter) {
        if !namings.isEmpty {
            json.objects("addressNames", namings) {
                $1.field("address", $0.address.description)
                $1.field("place", $0.place ?? "")
                $1.field("word", $0.word)
            }
        }
        json.objects("buses", buses) { $0.write(to: &$1) }
        json.field("deviceOrder", deviceOrder.map(\.description))
        if let firmwareMap { json.objects("firmwareMap", firmwareMap) { $0.write(to: &$1) } }
        json.objects("functions", functions) { $0.write(to: &$1) }
        json.objects("gaps", gaps) {
            $1.field("code", $0.code)
            $1.field("detail", $0.detail)
        }
        if let iomem { json.field("iomem", Self.lines(iomem)) }
        if let ioports { json.field("ioports", Self.lines(ioports)) }
        json.object("kernel") {
            if let architecture = kernel.architecture { $0.field("architecture", architecture) }
            if let commandLine = kernel.commandLine { $0.field("commandLine", commandLine) }
            if let description = kernel.hardwareDescription { $0.field("hardwareDescription", description.rawValue) }
            if let release = kernel.release { $0.field("release", release) }
        }
        if let kernelLog { json.field("kernelLog", kernelLog) }
        if let ports = nativeHotPlugPorts { json.field("nativeHotPlugPorts", ports.map(\.description)) }
        json.field("origin", origin.rawValue)
        if let privileges { json.object("privileges") { privileges.write(to: &$0) } }
        if let resourceAlignment { json.field("resourceAlignment", resourceAlignment) }
        json.field("schema", SnapshotFile.schema)
        json.objects("slots", slots) { $0.write(to: &$1) }
    }
}
