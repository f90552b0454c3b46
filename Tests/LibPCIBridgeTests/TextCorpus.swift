// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import LibPCIBridge
import PCITopology

/// The recorded machines of others, read in place where they are present.
enum TextCorpus {
    /// The directory, or nil when it is absent; then one line says so.
    static let directory: URL? = {
        let root = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        for relative in ["../shared/corpus", "../../shared/corpus"] {
            let url = root.appendingPathComponent(relative).standardizedFileURL
            if FileManager.default.fileExists(atPath: url.appendingPathComponent("INDEX.tsv").path) { return url }
        }
        print("skipped: ../shared/corpus is absent")
        return nil
    }()

    /// A file of the corpus.
    struct File: Sendable {
        /// The path below the corpus.
        var name: String
        /// The content.
        var bytes: [UInt8]
    }

    /// Every text of the corpus in ascending order of path; empty when the corpus is absent.
    static func texts() -> [File] {
        guard let directory, let walk = FileManager.default.enumerator(atPath: directory.path) else { return [] }
        var names: [String] = []
        while let name = walk.nextObject() as? String {
            guard !name.hasSuffix(".gz"), !name.hasSuffix(".tsv"), !name.hasSuffix("resource.txt") else { continue }
            var isDirectory: ObjCBool = false
            let path = directory.appendingPathComponent(name).path
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), !isDirectory.boolValue else {
                continue
            }
            names.append(name)
        }
        return names.sorted().compactMap { name in
            FileManager.default.contents(atPath: directory.appendingPathComponent(name).path).map {
                File(name: name, bytes: [UInt8]($0))
            }
        }
    }

    /// The texts of one folder whose name begins with `prefix`.
    static func folder(_ prefix: String) -> [File] { texts().filter { $0.name.hasPrefix(prefix) } }
}
