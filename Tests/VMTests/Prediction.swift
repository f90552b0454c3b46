// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import PCITopology
internal import Testing
internal import VMLaboratory

extension VirtualMachine {
    /// The dry run never lies: the guest shows every function that was predicted and no other, and every line of it.
    ///
    /// - Returns: what the guest shows.
    @discardableResult
    func expect(_ predicted: TreeState, _ context: Comment? = nil) throws -> [String: [GuestResource]] {
        let shown = try resources()
        #expect(shown.keys.sorted() == predicted.functions.map(\.address.description).sorted(), context)
        for state in predicted.functions {
            let found = (shown[state.address.description] ?? []).map {
                ResourceLine(start: $0.start, end: $0.end, flags: ResourceFlags(rawValue: $0.flags))
            }
            #expect(found == state.lines, "\(context?.rawValue ?? ""): \(state.address)")
        }
        return shown
    }
}

/// Plans made here from a guest's snapshot, with the same command that the guest has: an emulated processor takes many times as
/// long.
enum PlanningHere {
    /// The document that `plan --json` writes for a snapshot.
    static func document(_ snapshot: [UInt8], _ wishes: [String]) throws -> [UInt8] {
        let tool = try #require(Initramfs.builtTool.first)
        let file = NSTemporaryDirectory() + "snapshot-\(getpid())-\(UInt32.random(in: 0...UInt32.max)).json"
        try Data(snapshot).write(to: URL(fileURLWithPath: file))
        defer { try? FileManager.default.removeItem(atPath: file) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: tool)
        process.arguments = ["plan", "--json", "--from", file] + wishes
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let document = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Array(document)
    }
}
