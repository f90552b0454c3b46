// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import LibPCIBridge
import PCITopology
import Testing

/// Logs of real machines, read in place; nothing of them is in this repository.
@Suite("Kernel logs of real machines")
struct CorpusLogTests {
    /// The files below `path`, sorted.
    private func files(_ path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [(String, Bool)] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append((name, Int32(entry.pointee.d_type) == Int32(DT_DIR))) }
        }
        return names.sorted { $0.0 < $1.0 }.flatMap { $0.1 ? files("\(path)/\($0.0)") : ["\(path)/\($0.0)"] }
    }

    private func contents(_ path: String) -> [UInt8] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let n = fread(&chunk, 1, chunk.count, file)
            if n == 0 { return bytes }
            bytes += chunk[..<n]
        }
    }

    @Test("every `root bus resource` line is understood: the aperture prints as the kernel printed it")
    func apertures() throws {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let places = ["/../shared/corpus", "/../../shared/corpus"].map { root + $0 }
        guard let corpus = places.first(where: { access($0, R_OK) == 0 }) else {
            print("skipped: no corpus of real machines beside the checkout")
            return
        }
        var logs = 0
        var lines = 0
        var misread: [String] = []
        for path in files(corpus) {
            let all = contents(path).split(separator: 0x0a).map { String(decoding: $0, as: UTF8.self) }
            // A file may hold several boots; the last one counts. Mails break lines; a broken one says nothing.
            let start = all.lastIndex { $0.utf8.count < 1000 && $0.contains("Linux version ") } ?? 0
            let told = all[start...].filter {
                $0.contains(": root bus resource [") && !$0.contains("[bus ") && $0.contains("]", after: "root bus")
                    && ($0.contains("] pci_bus") || $0.contains("kernel: "))
            }
            guard !told.isEmpty else { continue }
            logs += 1
            lines += told.count
            var record = MachineRecord(origin: .text)
            record.kernelLog = all.filter { $0.contains("root bus resource") || $0.contains("Linux version ") }
            let t = try TopologyAssembler(record).topology()
            let known = Set(t.hostBridges.flatMap(\.apertures).map { words($0.kernelText) })
            for line in told {
                guard let start = line.firstIndex(of: "[", after: "root bus resource ") else { continue }
                if !known.contains(words(String(line[start...]))) { misread.append("\(path): \(line)") }
            }
        }
        print("corpus: \(logs) logs, \(lines) aperture lines, \(misread.count) misread")
        #expect(misread.isEmpty, "\(misread.prefix(5))")
        #expect(logs > 50)
    }

    /// Numbers without leading zeros, single blanks: older kernels pad otherwise.
    private func words(_ text: String) -> String {
        var result = ""
        for word in text.split(whereSeparator: { $0 == " " || $0 == "-" || $0 == "[" || $0 == "]" || $0 == ")" }) {
            if word.hasPrefix("0x"), let value = UInt64(word.dropFirst(2), radix: 16) {
                result += " " + String(value, radix: 16)
            } else {
                result += " " + word
            }
        }
        return result
    }
}

extension StringProtocol {
    fileprivate func contains(_ character: Character, after needle: String) -> Bool {
        firstRange(of: needle).map { self[$0.upperBound...].contains(character) } ?? false
    }

    fileprivate func firstIndex(of character: Character, after needle: String) -> Index? {
        guard let start = firstRange(of: needle) else { return nil }
        return self[start.upperBound...].firstIndex(of: character)
    }
}
