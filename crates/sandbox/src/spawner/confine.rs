//! What a function's process may not do: no privileges to gain, none left, and a seccomp filter for what remains of the kernel's surface.
//!
//! A denylist, because functions are arbitrary programs: what administers a machine, looks into other processes or opens unusual kernel
//! interfaces is refused with EPERM; the rest works. `runtimes/python/zygote.py` does the same steps for the processes it forks.

use std::io;
use std::os::fd::BorrowedFd;

/// Refused with EPERM.
#[cfg(target_arch = "x86_64")]
const ARCH_DENIED: &[libc::c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
];
#[cfg(not(target_arch = "x86_64"))]
const ARCH_DENIED: &[libc::c_long] = &[];

const DENIED: &[libc::c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_fanotify_init,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
];

const NAMESPACE_FLAGS: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u32;
/// What a process that is restored asks for, in one call; `runtimes/python/snapshot.py` says the same.
pub const GATE_FLAGS: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;
/// What a socket may be: its family, and the protocols of it. Others would have the kernel load modules few machines otherwise run.
const SOCKETS: [(i32, &[i32]); 4] = [
    (libc::AF_UNIX, &[0]),
    (libc::AF_INET, &IP_PROTOCOLS),
    (libc::AF_INET6, &IP_PROTOCOLS),
    (libc::AF_NETLINK, &[libc::NETLINK_ROUTE]),
];
const IP_PROTOCOLS: [i32; 6] = [
    libc::IPPROTO_IP,
    libc::IPPROTO_ICMP,
    libc::IPPROTO_TCP,
    libc::IPPROTO_UDP,
    libc::IPPROTO_ICMPV6,
    libc::IPPROTO_MPTCP,
];

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xC000_00B7;

// Classic BPF, linux/filter.h and linux/seccomp.h.
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7FFF_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ASK: u32 = 0x7FC0_0000;
// linux/netfilter_{ipv4/ip,arp,bridge/eb}_tables.h: replacing a table.
const IP_TABLES: u32 = 64;
const ARP_TABLES: u32 = 96;
const ETHERNET_TABLES: u32 = 128;
const ERRNO: u32 = 0x0005_0000;
const AT_NUMBER: u32 = 0;
const AT_ARCH: u32 = 4;
const AT_FIRST_ARGUMENT: u32 = 16;
const AT_THIRD_ARGUMENT: u32 = 32;
const X32_BIT: u32 = 0x4000_0000;

/// The filter as the kernel takes it: 8 bytes an instruction.
pub fn filter_program() -> Vec<u8> {
    filter(false)
}

/// The same with one way out: entering all of these namespaces at once waits for what the filter's listener says (`snapshot_gate.rs`).
pub fn filter_program_with_gate() -> Vec<u8> {
    filter(true)
}

fn filter(gate: bool) -> Vec<u8> {
    let refuse = |errno: i32| ERRNO | errno as u32;
    let mut program = Program::default();
    program.push(LOAD, 0, 0, AT_ARCH);
    program.push(JUMP_EQUAL, 1, 0, AUDIT_ARCH);
    program.push(RETURN, 0, 0, KILL_PROCESS);
    program.push(LOAD, 0, 0, AT_NUMBER);
    program.push(JUMP_AT_LEAST, 0, 1, X32_BIT);
    program.push(RETURN, 0, 0, refuse(libc::ENOSYS));
    if gate {
        program.push(JUMP_EQUAL, 0, 4, libc::SYS_unshare as u32);
        program.push(LOAD, 0, 0, AT_FIRST_ARGUMENT);
        program.push(JUMP_EQUAL, 0, 1, GATE_FLAGS);
        program.push(RETURN, 0, 0, ASK);
        program.push(LOAD, 0, 0, AT_NUMBER);
        // Whoever passes could write packet filters of its own network: code of the kernel few machines need.
        program.push(JUMP_EQUAL, 0, 6, libc::SYS_setsockopt as u32);
        program.push(LOAD, 0, 0, AT_THIRD_ARGUMENT);
        program.push(JUMP_EQUAL, 2, 0, IP_TABLES);
        program.push(JUMP_EQUAL, 1, 0, ARP_TABLES);
        program.push(JUMP_EQUAL, 0, 1, ETHERNET_TABLES);
        program.push(RETURN, 0, 0, refuse(libc::EPERM));
        program.push(LOAD, 0, 0, AT_NUMBER);
    }
    for number in DENIED.iter().chain(ARCH_DENIED) {
        program.push(JUMP_EQUAL, 0, 1, *number as u32);
        program.push(RETURN, 0, 0, refuse(libc::EPERM));
    }
    // Its flags lie behind a pointer where a filter cannot look; the C library then falls back to clone.
    program.push(JUMP_EQUAL, 0, 1, libc::SYS_clone3 as u32);
    program.push(RETURN, 0, 0, refuse(libc::ENOSYS));
    program.push(JUMP_EQUAL, 0, 4, libc::SYS_clone as u32);
    program.push(LOAD, 0, 0, AT_FIRST_ARGUMENT);
    program.push(JUMP_SET, 0, 1, NAMESPACE_FLAGS);
    program.push(RETURN, 0, 0, refuse(libc::EPERM));
    program.push(RETURN, 0, 0, ALLOW);
    program.push(JUMP_EQUAL, 1, 0, libc::SYS_socket as u32);
    program.push(RETURN, 0, 0, ALLOW);
    program.push(LOAD, 0, 0, AT_FIRST_ARGUMENT);
    for (family, protocols) in SOCKETS {
        // Past this family's part unless it is the one: a load, two for each protocol, a refusal.
        program.push(JUMP_EQUAL, 0, 2 + 2 * protocols.len() as u8, family as u32);
        program.push(LOAD, 0, 0, AT_THIRD_ARGUMENT);
        for protocol in protocols {
            program.push(JUMP_EQUAL, 0, 1, *protocol as u32);
            program.push(RETURN, 0, 0, ALLOW);
        }
        program.push(RETURN, 0, 0, refuse(libc::EPROTONOSUPPORT));
    }
    program.push(RETURN, 0, 0, refuse(libc::EAFNOSUPPORT));
    program.bytes
}

#[derive(Default)]
struct Program {
    bytes: Vec<u8>,
}

impl Program {
    fn push(&mut self, code: u16, on_true: u8, on_false: u8, operand: u32) {
        self.bytes.extend_from_slice(&code.to_ne_bytes());
        self.bytes.extend_from_slice(&[on_true, on_false]);
        self.bytes.extend_from_slice(&operand.to_ne_bytes());
    }
}

/// Gives up every privilege of this process for good. `uid` is the host user to become, if it is not to stay ours; `rules` are Landlock's.
pub fn give_up_privileges(
    uid: Option<u32>,
    confine: bool,
    rlimits: &[(String, u64)],
    rules: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    if confine {
        drop_bounding_set();
    }
    for (name, value) in rlimits {
        lower_limit(name, *value)?;
    }
    if let Some(uid) = uid {
        let (uid, gid) = (nix::unistd::Uid::from_raw(uid), nix::unistd::Gid::from_raw(uid));
        nix::unistd::setgroups(&[])?;
        nix::unistd::setresgid(gid, gid, gid)?;
        nix::unistd::setresuid(uid, uid, uid)?;
    }
    if confine {
        clear_capabilities()?;
    }
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    if let Some(rules) = rules {
        super::landlock::enforce(rules)?;
    }
    if confine {
        install_filter()?;
    }
    Ok(())
}

/// Lets a program started from here keep its capabilities although it is not user 0: what a zygote inside a user namespace needs.
pub fn keep_capabilities_over_exec() {
    let mut header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: both structures have the layout linux/capability.h gives for version 3.
    unsafe {
        if libc::syscall(libc::SYS_capget, &mut header, &mut data) < 0 {
            return;
        }
        for part in &mut data {
            part.inheritable = part.permitted;
        }
        if libc::syscall(libc::SYS_capset, &header, &data) < 0 {
            return;
        }
        for capability in 0..64 {
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0);
        }
    }
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn drop_bounding_set() {
    for capability in 0..64 {
        // Ends at the first number this kernel does not know.
        if prctl(libc::PR_CAPBSET_DROP, capability).is_err() {
            return;
        }
    }
}

fn clear_capabilities() -> io::Result<()> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let data = [CapData::default(); 2];
    // SAFETY: as above; the kernel only reads them.
    let result = unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        libc::syscall(libc::SYS_capset, &header, &data)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn lower_limit(name: &str, value: u64) -> io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let resource = match name {
        "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
        "RLIMIT_CORE" => Resource::RLIMIT_CORE,
        "RLIMIT_DATA" => Resource::RLIMIT_DATA,
        _ => return Ok(()),
    };
    let (_, hard) = getrlimit(resource)?;
    let limit = value.min(hard);
    Ok(setrlimit(resource, limit, limit)?)
}

fn install_filter() -> io::Result<()> {
    let program = filter_program();
    let filter = libc::sock_fprog {
        len: (program.len() / 8) as u16,
        filter: program.as_ptr() as *mut libc::sock_filter,
    };
    // SAFETY: `filter` points at `len` instructions that live until the call returns.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub fn prctl(option: i32, argument: libc::c_ulong) -> io::Result<()> {
    // SAFETY: only options that take one number are passed.
    let result = unsafe { libc::prctl(option, argument, 0, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
