// SPDX-License-Identifier: GPL-2.0-or-later

// The entries, oldest first.
extension KernelCatalogue {
    /// All that is known, oldest first; series and points of two entries never overlap.
    public static let entries: [Entry] = [
        several((0, 0), (5, 9), [maybe(.linux6_1, "sizes windows as 6.1"), maybe(.linux5_10, "as 5.10")], "not read"),
        part(
            (5, 10),
            0...172,
            [maybe(.linux5_10, "as later releases of the series")],
            "Debian's changelog of 5.10.262"
        ),
        part(
            (5, 10),
            173...Int.max,
            [maybe(.linux5_10, "read from Debian's source of 5.10.262")],
            "Debian's source and changelog of 5.10.262",
            Judgement(
                point: 262,
                release: "5.10.0-46-amd64",
                carries: "no change of the allocator after 5.10.173, and a long-term series that had settled"
            )
        ),
        several(
            (5, 11),
            (6, 0),
            [maybe(.linux6_1, "sizes windows as 6.1"), maybe(.linux5_10, "hands nothing out at boot, as 5.10")],
            "the sources of 5.10.262 and 6.1.192"
        ),
        part(
            (6, 1),
            0...17,
            [maybe(earlyLinux6_1, "before 6.1.18 handed out at boot")],
            "Debian's changelog of 6.1.192"
        ),
        part(
            (6, 1),
            18...133,
            [maybe(linux6_1With(.identicalFlags), "distributed by other bridges until 6.1.134")],
            "Debian's changelog of 6.1.192"
        ),
        part(
            (6, 1),
            134...177,
            [maybe(linux6_1With(.identicalFlags), "resizes as before 6.1.178")],
            "Debian's changelog of 6.1.192",
            Judgement(
                point: 192,
                release: "6.1.0-56-amd64",
                carries: "only resizing BARs changed in between, at 6.1.178 and 6.1.191"
            )
        ),
        part(
            (6, 1),
            178...190,
            [
                maybe(
                    KernelBehaviour.linux6_1.changed("linux-6.1.178") { $0.rootBusResizeIsChecked = false },
                    "before 6.1.191"
                )
            ],
            "Debian's changelog of 6.1.192",
            Judgement(
                point: 192,
                release: "6.1.0-56-amd64",
                carries: "only resizing BARs on a root bus changed in between, at 6.1.191"
            )
        ),
        part(
            (6, 1),
            191...Int.max,
            [maybe(.linux6_1, "read from Debian's source of 6.1.192")],
            "Debian's source and changelog of 6.1.192",
            Judgement(
                point: 192,
                release: "6.1.0-56-amd64",
                carries: "no change of the allocator in between, and a long-term series that had settled"
            )
        ),
        several(
            (6, 2),
            (6, 9),
            [maybe(.linux6_1, "sizes windows as 6.1"), maybe(.linux6_12, "as the next generation")],
            "the sources of 6.1.192 and 6.12.118"
        ),
        several(
            (6, 10),
            (6, 11),
            [maybe(.linux6_12, "has the relaxed tail of 6.12"), maybe(.linux6_1, "as the generation before")],
            "the sources of 6.1.192 and 6.12.118"
        ),
        part(
            (6, 12),
            0...22,
            [maybe(linux6_12With(.identicalFlags), "distributed by other bridges until 6.12.23")],
            "Debian's changelog of 6.12.118"
        ),
        part(
            (6, 12),
            23...96,
            [maybe(linux6_12With(.identicalFlags), "resizes as before 6.12.97")],
            "Debian's changelog of 6.12.118",
            Judgement(
                point: 118,
                release: "6.12.118+deb13-amd64",
                carries: "only resizing BARs changed in between, at 6.12.97 and 6.12.112"
            )
        ),
        part(
            (6, 12),
            97...111,
            [
                maybe(
                    KernelBehaviour.linux6_12.changed("linux-6.12.97") { $0.rootBusResizeIsChecked = false },
                    "before 6.12.112"
                )
            ],
            "Debian's changelog of 6.12.118",
            Judgement(
                point: 118,
                release: "6.12.118+deb13-amd64",
                carries: "only resizing BARs on a root bus changed in between, at 6.12.112"
            )
        ),
        part(
            (6, 12),
            112...Int.max,
            [maybe(.linux6_12, "read from Debian's source of 6.12.118")],
            "Debian's source and changelog of 6.12.118",
            Judgement(
                point: 118,
                release: "6.12.118+deb13-amd64",
                carries: "no change of the allocator in between, and a long-term series that had settled"
            )
        ),
        several(
            (6, 13),
            (6, 14),
            [maybe(.linux6_12, "sizes windows as 6.12"), maybe(.linux6_16, "as the next generation")],
            "the sources of 6.12.118, 6.14 and 6.17.0"
        ),
        several(
            (6, 15),
            (6, 15),
            [
                maybe(.linux6_16, "tells required and optional apart, as 6.16"),
                maybe(.linux6_12, "as the generation before"),
            ],
            "the sources of 6.12.118 and 6.17.0"
        ),
        part((6, 16), 0...11, [maybe(.linux6_16, "as 6.16.12")], "not read"),
        part(
            (6, 16),
            12...Int.max,
            [maybe(.linux6_16, "as its own kernel did")],
            "the kernel itself, beside the source of 6.17.0",
            Judgement(point: 12, release: "6.16.12+deb13-amd64", carries: "the last release of its series")
        ),
        part(
            (6, 17),
            0...Int.max,
            [maybe(.linux6_17, "read from the source of 6.17.0")],
            "the source of 6.17.0",
            Judgement(
                point: 13,
                release: "6.17.13+deb13-amd64",
                carries: "the source of 6.17.0 does the same, and 6.17.13 is the last release of its series"
            )
        ),
        part(
            (6, 18),
            0...13,
            [
                maybe(earlyLinux6_18, "before 6.18.14 took the sizing of 7.0"),
                maybe(.linux6_18, "as 6.18.14"),
            ],
            "the announcement of 6.18.14, and the source of 6.18.16"
        ),
        part(
            (6, 18),
            14...16,
            [maybe(.linux6_18, "read from the source of 6.18.16")],
            "the announcement of 6.18.14, and the source of 6.18.16",
            Judgement(
                point: 15,
                release: "6.18.15+deb13-amd64",
                carries: "the sizing came with 6.18.14, and the source of 6.18.16 does the same"
            )
        ),
        part(
            (6, 18),
            17...Int.max,
            [
                maybe(.linux6_18, "as 6.18.16"),
                maybe(laterLinux6_18, "an update of May 2026 took three changes of 7.1"),
            ],
            "announcements of stable updates"
        ),
        part(
            (6, 19),
            0...13,
            [
                maybe(.linux6_19, "an update took the sizing of 7.0"),
                maybe(earlyLinux6_19, "read from the source of 6.19.0"),
            ],
            "the source of 6.19.0"
        ),
        part(
            (6, 19),
            14...14,
            [maybe(.linux6_19, "as its own kernel did")],
            "the kernel itself, beside the source of 6.19.0",
            Judgement(point: 14, release: "6.19.14+deb13-amd64", carries: "the release itself")
        ),
        part((6, 19), 15...Int.max, [maybe(.linux6_19, "as 6.19.14")], "not read"),
        part(
            (7, 0),
            0...12,
            [
                maybe(earlyLinux7_0, "before 7.0.10 took three changes of 7.1"),
                maybe(.linux7_0, "as 7.0.13"),
            ],
            "the announcement of 7.0.10"
        ),
        part(
            (7, 0),
            13...13,
            [maybe(.linux7_0, "as its own kernel did")],
            "the kernel itself, beside the sources of 6.19.0 and 7.1.5",
            Judgement(point: 13, release: "7.0.13+deb13-amd64", carries: "the release itself")
        ),
        part(
            (7, 0),
            14...Int.max,
            [maybe(.linux7_0, "as 7.0.13"), maybe(.linux7_1, "as the next release")],
            "not read"
        ),
        part((7, 1), 0...4, [maybe(.linux7_1, "as 7.1.5"), maybe(.linux7_0, "as the release before")], "not read"),
        part(
            (7, 1),
            5...13,
            [maybe(.linux7_1, "read from the source of 7.1.5")],
            "the source of 7.1.5",
            Judgement(point: 13, release: "7.1.13+deb13-amd64", carries: "the source of 7.1.5 does the same")
        ),
        part(
            (7, 1),
            14...Int.max,
            [maybe(.linux7_1, "as 7.1.13"), maybe(.linux7_2, "as the next release")],
            "not read"
        ),
        part(
            (7, 2),
            0...8,
            [maybe(.linux7_1, "before 7.2.9 checked resizing on a root bus")],
            "Debian's changelog of 7.2.13",
            Judgement(
                point: 13,
                release: "7.2.13+deb14-amd64",
                carries: "only resizing BARs on a root bus changed in between, at 7.2.9"
            )
        ),
        part(
            (7, 2),
            9...13,
            [maybe(.linux7_2, "read from Debian's source of 7.2.13")],
            "Debian's source and changelog of 7.2.13",
            Judgement(point: 13, release: "7.2.13+deb14-amd64", carries: "no change of the allocator in between")
        ),
        part(
            (7, 2),
            14...Int.max,
            [maybe(.linux7_2, "as 7.2.13"), maybe(.linux7_3, "as the next release")],
            "not read"
        ),
        part((7, 3), 0...0, [maybe(.linux7_3, "as 7.3.4")], "not read"),
        part(
            (7, 3),
            1...4,
            [maybe(.linux7_3, "read from Debian's source of 7.3.4")],
            "Debian's source and changelog of 7.3.4",
            Judgement(point: 4, release: "7.3.4+deb13-amd64", carries: "no change of the allocator in between")
        ),
        part((7, 3), 5...Int.max, [maybe(.linux7_3, "as 7.3.4")], "not read"),
    ]

    private static func maybe(_ behaviour: KernelBehaviour, _ reason: String) -> BehaviourSet.Candidate {
        .init(behaviour, reason: reason)
    }

    private static func part(
        _ series: (Int, Int),
        _ points: ClosedRange<Int>,
        _ candidates: [BehaviourSet.Candidate],
        _ source: String,
        _ judgement: Judgement? = nil
    ) -> Entry {
        let series = KernelRelease.Series(series.0, series.1)
        return Entry(
            first: series,
            last: series,
            points: points,
            candidates: candidates,
            judgement: judgement,
            source: source
        )
    }

    private static func several(
        _ first: (Int, Int),
        _ last: (Int, Int),
        _ candidates: [BehaviourSet.Candidate],
        _ source: String
    ) -> Entry {
        Entry(
            first: .init(first.0, first.1),
            last: .init(last.0, last.1),
            points: 0...Int.max,
            candidates: candidates,
            judgement: nil,
            source: source
        )
    }

    // MARK: Releases between those of the laboratory, by what was read

    private static func linux6_1With(_ release: KernelBehaviour.ResizeRelease) -> KernelBehaviour {
        KernelBehaviour.linux6_1.changed("linux-6.1.18") { $0.resizeRelease = release }
    }

    private static func linux6_12With(_ release: KernelBehaviour.ResizeRelease) -> KernelBehaviour {
        KernelBehaviour.linux6_12.changed("linux-6.12.0") { $0.resizeRelease = release }
    }

    private static let earlyLinux6_1 = KernelBehaviour.linux6_1.changed("linux-6.1.0") {
        $0.resizeRelease = .identicalFlags
        $0.distributesAtBoot = false
    }

    private static let earlyLinux6_18 = withoutSizingOf7_0(.linux6_18, "linux-6.18.0")

    private static let earlyLinux6_19 = withoutSizingOf7_0(.linux6_19, "linux-6.19.0")

    private static func withoutSizingOf7_0(_ behaviour: KernelBehaviour, _ name: String) -> KernelBehaviour {
        behaviour.changed(name) {
            $0.headAlignment = false
            $0.largeMembersAlign = false
            $0.oldWindowSizeIsLowerBound = true
            $0.relaxedTail = true
            $0.relaxedTailForExtras = true
            $0.relaxedTailNeverRaises = true
            $0.alignmentAloneIsExtra = false
        }
    }

    private static let laterLinux6_18 = KernelBehaviour.linux6_18.changed("linux-6.18.17") {
        $0.distributionMayShrink = false
        $0.dropsExtrasOfUnplaced = false
        $0.largeMembersAlign = false
    }

    private static let earlyLinux7_0 = KernelBehaviour.linux6_19.changed("linux-7.0.0") {
        $0.emptyWindowsAreOptional = true
        $0.optionalEntriesCarryAlignment = true
    }
}
