// SPDX-License-Identifier: GPL-2.0-or-later

import CPlanExecutor
import Glibc
import PCITopology

/// Hooks as executables of a directory, as `run-parts` takes them: names of letters, digits, `_`, `-` and `.`, not
/// beginning with a dot and not ending as a package's backup does, in the order of their bytes.
///
/// They run as root. The directory, every directory above it and every executable in it must belong to root (or to this
/// user) and be writable by nobody else, and nothing on the way may be a link; else none is run.
public final class HookDirectory: StopHooks {
    /// The directory used when none is given.
    public static let defaultPath = "/etc/pci-rebalance/hooks.d"
    /// The most programs that are run.
    static let mostPrograms = 64
    /// How much of what a hook writes is kept, in bytes.
    private static let keptOutput = 4096

    private let path: String

    /// Hooks in the directory at `path`, absolute.
    public init(path: String = defaultPath) { self.path = path }

    /// The executables; none where there is no such directory. What is not executable is no hook.
    public func programs() throws -> [String] {
        guard let directory = try openDirectory() else { return [] }
        let copy = openat(directory.raw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0, let stream = fdopendir(copy) else { throw HookError(description: "cannot list \(path)") }
        defer { _ = closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard Self.isName(name), try isHook(name, directory) else { continue }
            names.append(name)
            guard names.count <= Self.mostPrograms else {
                throw HookError(description: "expected at most \(Self.mostPrograms) executables in \(path)")
            }
        }
        return names.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
    }

    /// Runs an executable of the directory with what `notice` tells and nothing else in its environment.
    public func run(_ program: String, _ notice: HookNotice, within limit: Duration) -> HookEnd {
        let file = "\(path)/\(program)"
        // Once more: time has passed since the directory was read.
        do {
            guard try programs().contains(program) else { return HookEnd(.failed, detail: "\(file) is gone") }
        } catch let error as HookError {
            return HookEnd(.failed, detail: error.description.printable)
        } catch {
            return HookEnd(.failed, detail: "\(error)".printable)
        }
        let environment =
            [("LC_ALL", "C.UTF-8"), ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")]
            + notice.environment.map { ($0.name, $0.value) }
        var output = [CChar](repeating: 0, count: Self.keptOutput)
        let count = output.count
        let end = withCStrings([file] + notice.arguments) { arguments in
            withCStrings(environment.map { "\($0.0)=\($0.1)" }) { environment in
                run_program(file, arguments, environment, Int32(clamping: limit.wholeMilliseconds), &output, count)
            }
        }
        let text = String(decoding: output[..<min(end.count, count)].map(UInt8.init(bitPattern:)), as: UTF8.self)
        let line = text.split(whereSeparator: \.isNewline).first.map { String($0.prefix(200)).printable } ?? ""
        let said = line.isEmpty ? "" : ": \(line)"
        if end.error != 0 {
            return HookEnd(.failed, detail: String(cString: strerror(end.error)).lowercased())
        }
        if end.is_timed_out != 0 {
            return HookEnd(.timedOut, detail: "did not end within \(limit.wholeMilliseconds) ms\(said)")
        }
        let signal = end.status & 0x7f
        guard signal == 0 else { return HookEnd(.failed, detail: "was ended by signal \(signal)\(said)") }
        let status = end.status >> 8 & 0xff
        return status == 0 ? HookEnd(.done, detail: line) : HookEnd(.refused, detail: "exit status \(status)\(said)")
    }

    // MARK: Whose they are

    /// Opens the directory, name by name from the root; nil when it does not exist.
    private func openDirectory() throws -> Descriptor? {
        let raw = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard raw >= 0 else { throw HookError(description: "cannot open /") }
        var current = Descriptor(raw)
        var place = ""
        for name in path.split(separator: "/").map(String.init) {
            place += "/\(name)"
            let next = openat(current.raw, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard next >= 0 else {
                let code = errno
                if code == ENOENT { return nil }
                let detail = code == ELOOP || code == ENOTDIR ? "expected a directory and no link" : "cannot open it"
                throw HookError(description: "hooks are not run: \(place): \(detail)")
            }
            current = Descriptor(next)
            var status = stat()
            guard fstat(next, &status) == 0 else { throw HookError(description: "cannot look at \(place)") }
            // Where everybody may write but only owners may rename (/tmp), what belongs to root stays where it is.
            let isLast = place == path
            try judge(status, place, allowing: status.st_mode & S_ISVTX != 0 && !isLast ? 0o022 : 0)
        }
        return current
    }

    private func isHook(_ name: String, _ directory: borrowing Descriptor) throws -> Bool {
        var status = stat()
        guard fstatat(directory.raw, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return false }
        let place = "\(path)/\(name)"
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: return false
        default:
            throw HookError(
                description: "hooks are not run: \(place): expected a regular file, found a link or a special file"
            )
        }
        guard status.st_mode & 0o111 != 0 else { return false }
        try judge(status, place, allowing: 0)
        return true
    }

    private func judge(_ status: stat, _ place: String, allowing bits: mode_t) throws {
        guard status.st_uid == 0 || status.st_uid == geteuid() else {
            throw HookError(description: "hooks are not run: \(place): expected owner 0, found \(status.st_uid)")
        }
        guard status.st_mode & 0o022 & ~bits == 0 else {
            let mode = String(status.st_mode & 0o7777, radix: 8)
            throw HookError(
                description: "hooks are not run: \(place): expected that only its owner may write, found mode 0\(mode)"
            )
        }
    }

    private static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first, first != UInt8(ascii: "."),
            ![".bak", ".orig", ".rej", ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".dpkg-tmp", ".rpmsave", ".rpmnew"]
                .contains(where: name.hasSuffix)
        else { return false }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
                true
            default: false
            }
        }
    }
}

/// Calls `body` with the texts as a C array of C strings that ends with a null pointer.
private func withCStrings<Result>(_ texts: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result)
    -> Result
{
    var pointers: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) }
    defer { for pointer in pointers { free(pointer) } }
    pointers.append(nil)
    return pointers.withUnsafeBufferPointer { buffer in
        guard let start = buffer.baseAddress else { preconditionFailure("an array with a null pointer has a start") }
        return body(start)
    }
}
