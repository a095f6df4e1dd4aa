//! A compiled program, linked with what it may call and ready to be instantiated.

use wasmtime::component::{Component, Linker as ComponentLinker, ResourceTable};
use wasmtime::{Engine, InstancePre, Linker, Module};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::limits::Limits;
use crate::outgoing::Outgoing;

/// Why something is not taken as a program; a sentence for whoever sent it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// What can be run.
pub struct Program(pub(crate) Linked);

pub(crate) enum Linked {
    Core(InstancePre<CoreState>),
    Component(CommandPre<ComponentState>),
}

/// What an instance of a core module has.
pub(crate) struct CoreState {
    pub wasi: WasiP1Ctx,
    pub limits: Limits,
}

/// What an instance of a component has.
pub(crate) struct ComponentState {
    pub wasi: WasiCtx,
    pub table: ResourceTable,
    pub http: WasiHttpCtx,
    pub outgoing: Outgoing,
    pub limits: Limits,
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for ComponentState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outgoing }
    }
}

/// The two forms a binary can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Core,
    Component,
}

impl Form {
    /// Told by the header: the magic, then a version and a layer of two bytes each.
    pub fn of(wasm: &[u8]) -> Result<Self, Refused> {
        match wasm.get(..8) {
            Some([b'\0', b'a', b's', b'm', 1, 0, 0, 0]) => Ok(Self::Core),
            Some([b'\0', b'a', b's', b'm', _, _, 1, 0]) => Ok(Self::Component),
            Some([b'\0', b'a', b's', b'm', ..]) => {
                Err(Refused("it is of a WebAssembly version that is not known here".into()))
            }
            _ => Err(Refused("it is not a WebAssembly binary".into())),
        }
    }
}

impl Program {
    /// Links compiled code with WASI. What it imports beyond that, and what is no command, is refused.
    pub(crate) fn link_core(engine: &Engine, module: &Module) -> Result<Self, Refused> {
        let main = module.get_export("_start");
        let main = main.as_ref().and_then(|export| export.func());
        if main.is_none_or(|main| main.params().len() + main.results().len() > 0) {
            return Err(Refused(
                "it exports no function `_start` without parameters: build it as a program (a WASI command), not as a library"
                    .into(),
            ));
        }
        let mut linker: Linker<CoreState> = Linker::new(engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state: &mut CoreState| &mut state.wasi)
            .map_err(refused)?;
        Ok(Self(Linked::Core(linker.instantiate_pre(module).map_err(refused)?)))
    }

    pub(crate) fn link_component(engine: &Engine, component: &Component) -> Result<Self, Refused> {
        let mut linker: ComponentLinker<ComponentState> = ComponentLinker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(refused)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).map_err(refused)?;
        let linked = linker.instantiate_pre(component).map_err(refused)?;
        let command = CommandPre::new(linked).map_err(|error| {
            Refused(format!("it is not a component of the world wasi:cli/command: {}", chain(&error)))
        })?;
        Ok(Self(Linked::Component(command)))
    }
}

pub(crate) fn refused(error: wasmtime::Error) -> Refused {
    Refused(chain(&error))
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    let text: Vec<String> = error.chain().map(ToString::to_string).collect();
    let mut text = text.join(": ").replace('\n', " ");
    // What a module calls its parts is in it.
    if let Some((end, _)) = text.char_indices().nth(600) {
        text.truncate(end);
    }
    text
}
