// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import DifferentialLaboratory
import Foundation
import Testing
import VMLaboratory

/// Which behaviours a release may have, and what a judgement tells of.
@Suite("The catalogue of kernels")
struct KernelCatalogueTests {
    typealias Entry = KernelCatalogue.Entry

    private static func release(_ text: String) throws -> KernelRelease { try #require(KernelRelease(text)) }

    // MARK: Releases

    @Test(
        "a release is taken apart",
        arguments: [
            ("6.18.15+deb13-amd64", 15, KernelRelease.Tree.debian), ("6.12.43+deb12-cloud-arm64", 43, .debian),
            ("7.2.13-1-amd64", 13, .debian), ("6.1.0-56-amd64", 192, .debian), ("6.1.0-50-amd64", 176, .debian),
            ("5.10.0-46-amd64", 262, .debian), ("6.18", 0, .stable), ("6.18.15", 15, .stable),
            ("6.8.0-45-generic", 0, .ubuntu), ("6.17.0-1005-oem", 0, .ubuntu), ("5.14.0-570.el9.x86_64", 0, .redHat),
            ("6.12.0-55.9.1.el10_0.x86_64", 0, .redHat), ("6.17.7-200.fc43.x86_64", 7, .fedora),
            ("6.4.0-150600.23-default", 0, .suse), ("6.14.8-2-pve", 8, .proxmox),
            ("6.12.47+rpt-rpi-v8", 47, .raspberryPi),
            ("6.6.87.2-microsoft-standard-WSL2", 87, .other), ("6.18.15-arch1-1", 15, .other),
            ("6.1.0-rc3+", 0, .other),
        ]
    )
    func parts(text: String, point: Int, tree: KernelRelease.Tree) throws {
        let release = try Self.release(text)
        #expect(release.points == point...point)
        #expect(release.tree == tree)
    }

    @Test("numbers of Debian's packages whose point release is not known leave a range")
    func packages() throws {
        #expect(try Self.release("6.1.0-18-amd64").points == 0...134)
        #expect(try Self.release("6.1.0-57-amd64").points == 192...Int.max)
        #expect(try Self.release("4.19.0-27-amd64").points == 0...Int.max)
    }

    @Test(
        "text that is no release has no parts",
        arguments: ["", "rolling", "6", "6.", ".6", "6.x", "-6.1", "99999999999999999999.1"]
    )
    func unreadable(text: String) {
        #expect(KernelRelease(text) == nil)
        let set = KernelCatalogue.behaviours(forRelease: text)
        #expect(set.judgement == .none)
        #expect(set.candidates.count > 3)
        #expect(set.first == .linux6_1)
    }

    // MARK: Judgements

    @Test(
        "each kernel of the laboratory is judged by itself, and has one behaviour",
        arguments: [
            ("5.10.0-46-amd64", "linux-5.10"), ("6.1.0-56-amd64", "linux-6.1"), ("6.12.118+deb13-amd64", "linux-6.12"),
            ("6.16.12+deb13-amd64", "linux-6.16"), ("6.17.13+deb13-amd64", "linux-6.17"),
            ("6.18.15+deb13-amd64", "linux-6.18"), ("6.19.14+deb13-amd64", "linux-6.19"),
            ("7.0.13+deb13-amd64", "linux-7.0"), ("7.1.13+deb13-amd64", "linux-7.1"),
            ("7.2.13+deb14-amd64", "linux-7.2"), ("7.3.4+deb13-amd64", "linux-7.3"),
        ]
    )
    func laboratory(release: String, preset: String) {
        let set = KernelCatalogue.behaviours(forRelease: release)
        #expect(set.judgement == .itself)
        #expect(set.candidates.map(\.behaviour.name) == [preset])
        #expect(set.explanation == "judged on \(release) itself")
        #expect(KernelCatalogue.entries.contains { $0.judgement?.release == release })
    }

    @Test(
        "a judgement carries as far as what changed is known, and no further",
        arguments: [
            ("6.18.13", false), ("6.18.14", true), ("6.18.16", true), ("6.18.17", false), ("6.18.46", false),
            ("6.12.22", false), ("6.12.23", true), ("6.12.96", true), ("6.12.200", true), ("6.1.133", false),
            ("6.1.134", true), ("6.1.0-18-amd64", false), ("6.1.0-34-amd64", true), ("6.1.0-57-amd64", true),
            ("5.10.172", false), ("5.10.173", true), ("6.16.11", false), ("6.17.0", true), ("6.19.13", false),
            ("6.19.15", false), ("7.0.12", false), ("7.1.4", false), ("7.1.5", true), ("7.1.14", false),
            ("7.2.0", true),
            ("7.2.14", false), ("7.3.0", false), ("7.3.1", true), ("7.3.5", false), ("7.4.0", false),
            ("5.15.100", false),
            ("6.17.0-1005-oem", false), ("6.12.0-55.9.1.el10_0.x86_64", false), ("6.18.15-arch1-1", false),
            ("6.17.7-200.fc43.x86_64", false),
        ]
    )
    func carries(release: String, isCarried: Bool) {
        let set = KernelCatalogue.behaviours(forRelease: release)
        #expect(set.judgement == (isCarried ? .carried : .none))
        #expect(set.isJudged == isCarried)
        #expect(!set.explanation.isEmpty)
        // What was not judged is never taken for one behaviour.
        #expect(isCarried || set.candidates.count > 1)
        #expect(!KernelBehaviour.preset(forRelease: release).isExact)
    }

    @Test(
        "a series that is left out is taken for what its neighbours do, and not for itself",
        arguments: [
            ("6.18.15+deb13-amd64", ["linux-6.17", "linux-6.19", "linux-6.19.0"], "linux-6.18"),
            ("7.2.13+deb14-amd64", ["linux-7.1", "linux-7.3"], "linux-7.2"),
            ("7.3.4+deb13-amd64", ["linux-7.2"], "linux-7.3"),
            ("6.1.0-56-amd64", ["linux-5.10", "linux-6.12"], "linux-6.1"),
        ]
    )
    func leftOut(release: String, has: [String], hasNot: String) throws {
        let series = try #require(KernelRelease(release)?.series)
        let set = try #require(KernelCatalogue.behaviours(forRelease: release, without: series))
        let names = set.candidates.map(\.behaviour.name)
        #expect(Set(has).isSubset(of: names), "\(names)")
        let own = names.filter { $0 == hasNot || $0.hasPrefix("\(hasNot).") || $0.hasPrefix("\(hasNot)+") }
        #expect(own == [], "\(names)")
        #expect(!set.isJudged)
        // Another series is not left out with it.
        #expect(KernelCatalogue.behaviours(forRelease: "6.6.1", without: series) == nil)
    }

    @Test("the tool predicts the laboratory's kernels as the laboratory does", arguments: Kernel.everyKernel)
    func cachedKernels(kernel: Kernel) throws {
        guard let release = kernel.release else { try Test.cancel("\(kernel) is not in the cache") }
        #expect(KernelCatalogue.behaviours(forRelease: release).first == kernel.behaviour, "\(release)")
    }

    @Test(
        "nothing is written unasked where repairs were not proven",
        arguments: [
            ("6.1.0-56-amd64", true), ("6.12.118+deb13-amd64", true), ("6.12.43+deb13-amd64", true),
            ("7.2.13+deb14-amd64", true), ("6.18.15+deb13-amd64", true), ("6.18.16", true), ("6.18.17", false),
            ("7.3.4+deb13-amd64", true), ("7.3.5", false), ("7.0.13", true), ("7.0.12", false), ("7.1.13", true),
            ("6.18.15-arch1-1", false), ("5.10.0-46-amd64", true), ("6.8.0-45-generic", false), ("", false),
            ("6.16.12+deb13-amd64", true), ("6.16.11", false), ("6.17.0", true), ("6.19.14+deb13-amd64", true),
        ]
    )
    func writing(release: String, mayWrite: Bool) {
        #expect((KernelCatalogue.obstacle(toWritingOn: release) == nil) == mayWrite)
    }

    @Test("where apply writes unasked, failed hot-adds were repaired in the laboratory and nothing was lost")
    func proof() {
        // The kernels of the three suites run all tests of repairs, not only random ones.
        let suites: Set<KernelRelease.Series> = [.init(6, 1), .init(6, 12), .init(7, 2)]
        for entry in KernelCatalogue.entries {
            guard let release = entry.judgement?.release, KernelCatalogue.obstacle(toWritingOn: release) == nil,
                !suites.contains(entry.first)
            else { continue }
            let repairs = KernelCatalogue.repairs.filter { $0.release == release }
            #expect(repairs.reduce(0) { $0 + $1.rescued } > 0, "\(release)")
            #expect(repairs.allSatisfy { $0.lost == 0 }, "\(release)")
        }
    }

    @Test("what resizing did before its stable updates is another behaviour")
    func resizing() {
        func release(_ text: String) -> KernelBehaviour.ResizeRelease {
            KernelCatalogue.behaviours(forRelease: text).first.resizeRelease
        }
        #expect(release("6.12.96") == .identicalFlags)
        #expect(release("6.12.97") == .sameParent)
        #expect(release("6.1.0-50-amd64") == .identicalFlags)
        #expect(release("5.10.0-46-amd64") == .noFile)
        #expect(!KernelCatalogue.behaviours(forRelease: "7.2.8").first.rootBusResizeIsChecked)
        #expect(KernelCatalogue.behaviours(forRelease: "7.2.9").first == .linux7_2)
    }

    @Test("a distributor's kernel may have what newer releases have")
    func distributors() throws {
        let ubuntu = KernelCatalogue.behaviours(forRelease: "6.8.0-45-generic")
        let plain = KernelCatalogue.behaviours(forRelease: "6.8.12")
        #expect(ubuntu.first == plain.first)
        #expect(ubuntu.candidates.count > plain.candidates.count)
        #expect(ubuntu.candidates.contains { $0.reason.contains("Ubuntu") })
        #expect(KernelCatalogue.behaviours(forRelease: "6.17.0-5-generic").explanation.contains("Ubuntu"))
    }

    // MARK: The catalogue as a whole

    @Test("every release up to the newest series has an entry, and no point has two")
    func whole() throws {
        for major in 0...7 {
            for minor in 0...(major == 7 ? 3 : 19) {
                let entries = KernelCatalogue.entries.filter {
                    $0.first <= .init(major, minor) && .init(major, minor) <= $0.last
                }
                var next = 0
                for (n, entry) in entries.enumerated() {
                    #expect(entry.points.lowerBound == next, "\(major).\(minor)")
                    #expect((entry.points.upperBound == .max) == (n == entries.count - 1), "\(major).\(minor)")
                    next = entry.points.upperBound &+ 1
                }
                #expect(!entries.isEmpty, "\(major).\(minor)")
            }
        }
        for entry in KernelCatalogue.entries {
            #expect(!entry.candidates.isEmpty)
            #expect(entry.judgement == nil || entry.candidates.count == 1, "\(entry.releases)")
        }
    }

    @Test("every switch that differs between two presets stands beside the change that turned it")
    func changes() {
        let told = Set(KernelCatalogue.changes.flatMap(\.switches))
        let presets = KernelBehaviour.everyPreset
        for (older, newer) in zip(presets, presets.dropFirst()) {
            for name in newer.switches(differingFrom: older) {
                #expect(told.contains(name), "\(name), from \(older) to \(newer)")
            }
        }
        let all = Set(KernelBehaviour.switchNames)
        #expect(told.isSubset(of: all), "\(told.subtracting(all))")
    }

    @Test("Docs/kernels.md says what the catalogue says")
    func document() throws {
        let path = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/Docs/kernels.md"
        let text = KernelDocument.text
        if ProcessInfo.processInfo.environment["RECORD_SNAPSHOTS"] == "1" {
            try text.write(toFile: path, atomically: true, encoding: .utf8)
        }
        let written = try String(contentsOfFile: path, encoding: .utf8)
        #expect(written == text, "record it anew with RECORD_SNAPSHOTS=1")
    }
}

/// The catalogue as `Docs/kernels.md`.
enum KernelDocument {
    /// What else apply refuses on, as the end of a paragraph of lines.
    private static var unproven: [String] {
        let series = KernelCatalogue.unprovenSeries.sorted().map(\.description).joined(separator: ", ")
        if series.isEmpty { return ["or with `--allow-unjudged`."] }
        return [
            "or with `--allow-unjudged`. It also refuses on \(series): predicted, but repairs",
            "on these kernels have not been proven yet.",
        ]
    }

    static var text: String {
        var lines = [
            "# Kernels",
            "",
            "How each kernel release assigns addresses, as far as it is known. Written from `KernelCatalogue` by",
            "`KernelCatalogueTests` (`RECORD_SNAPSHOTS=1` writes it anew); do not edit.",
            "",
            "*Judged* is a release whose own kernel was held against its preset in emulated machines without a line that",
            "differed (`vm-lab differential`). A judgement *carries* to other point releases of the stable tree and of Debian's",
            "where every change of the allocator in between is known. Everything else may have any of the behaviours listed,",
            "and single changes that stable trees or distributors carried back: plans say so, and `apply` writes only where, in",
            "thought, each step can be gone back from under all of them,",
        ]
        lines += unproven
        lines += [
            "",
            "## Releases",
            "",
            "| releases | may do as | judged on | why it carries | from |",
            "| --- | --- | --- | --- | --- |",
        ]
        for entry in KernelCatalogue.entries {
            let may = entry.candidates.map { "`\($0.behaviour.name)`: \($0.reason)" }.joined(separator: "; ")
            let judgement = entry.judgement
            lines.append(
                row([entry.releases, may, judgement?.release ?? "no", judgement?.carries ?? "", entry.source])
            )
        }
        lines += [
            "", "Newer series than these may have any behaviour of the list. Kernels of Ubuntu, Red Hat, Fedora, SUSE,",
            "Proxmox, Raspberry Pi and unknown trees are never judged: they may also have what the next entries have.",
            "",
            "## Runs in the laboratory",
            "",
            "| kernel | trees | operations | seeds | differences |",
            "| --- | --- | --- | --- | --- |",
        ]
        for run in KernelCatalogue.runs {
            lines.append(
                row([run.release, "\(run.trees)", "\(run.operations)", run.seeds, "\(run.differences)"])
            )
        }
        lines += [
            "", "## Repairs in the laboratory", "",
            "Cards that do not fit, plugged into random trees, and `apply` in the guest (`vm-lab rescue`); lost is what had",
            "an address, or answered at it, before a repair and not after it. The failures of `LossTests` were repaired on each",
            "too where `apply` writes: 1 GiB that does not fit beside a busy sibling, and 512 MiB among three switches. On 6.1,",
            "6.12 and 7.2 all tests of repairs run.",
            "",
            "| kernel | seeds | failed hot-adds | rescued | in part | refused or no way | went back | lost |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for run in KernelCatalogue.repairs {
            let counts = [run.hotAdds, run.rescued, run.inPart, run.untouched, run.wentBack, run.lost]
            lines.append(row([run.release, run.seeds] + counts.map { "\($0)" }))
        }
        lines += ["", "## Presets", "", "| preset | switches that differ from the one before |", "| --- | --- |"]
        let presets = KernelBehaviour.everyPreset
        for (n, preset) in presets.enumerated() {
            let names = n == 0 ? [] : preset.switches(differingFrom: presets[n - 1])
            let text = n == 0 ? "the oldest" : names.isEmpty ? "none" : names.map { "`\($0)`" }.joined(separator: ", ")
            lines.append(row(["`\(preset.name)`", text]))
        }
        lines += [
            "", "## Changes of the allocator", "", "| since | switches | commit | seen in |",
            "| --- | --- | --- | --- |",
        ]
        for change in KernelCatalogue.changes {
            let switches = change.switches.map { "`\($0)`" }.joined(separator: ", ")
            lines.append(row([change.release, switches, change.title, change.carriedBy]))
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func row(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |" }
}
