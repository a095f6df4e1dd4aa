//! Projections: which parts of an item are answered.

use crate::{
    AttributeValue, Invalid, Item, Path, Scope,
    lexer::{Lexer, Token},
    path::{Step, check_together},
};

/// Paths to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection(pub Vec<Path>);

impl Projection {
    pub fn parse(text: &str, scope: &Scope<'_>) -> Result<Projection, Invalid> {
        const KIND: &str = "ProjectionExpression";
        let mut lexer = Lexer::new(KIND, text)?;
        let mut paths = vec![Path::parse(&mut lexer, scope, KIND)?];
        while lexer.accept(KIND, ",")? {
            paths.push(Path::parse(&mut lexer, scope, KIND)?);
        }
        if lexer.peek() != Token::End {
            return Err(lexer.unexpected(KIND));
        }
        check_together(KIND, &paths.iter().collect::<Vec<_>>())?;
        Ok(Projection(paths))
    }

    /// Attributes by name alone, as the older `AttributesToGet` has them.
    pub fn of_names(names: Vec<String>) -> Projection {
        Projection(names.into_iter().map(|root| Path { root, steps: Vec::new() }).collect())
    }

    /// The chosen parts. Elements of lists close up, in the order of the list.
    pub fn apply(&self, item: &Item) -> Item {
        let mut out = Item::new();
        for (name, value) in item {
            let mine: Vec<&[Step]> =
                self.0.iter().filter(|path| path.root == *name).map(|path| path.steps.as_slice()).collect();
            if let Some(kept) = keep(value, &mine) {
                out.insert(name.clone(), kept);
            }
        }
        out
    }
}

/// What of a value the paths choose; `None` when they choose nothing of it.
fn keep(value: &AttributeValue, paths: &[&[Step]]) -> Option<AttributeValue> {
    if paths.is_empty() {
        return None;
    }
    if paths.iter().any(|steps| steps.is_empty()) {
        return Some(value.clone());
    }
    let below = |wanted: &dyn Fn(&Step) -> bool| -> Vec<&[Step]> {
        paths
            .iter()
            .filter_map(|steps| steps.split_first().filter(|(first, _)| wanted(first)).map(|(_, rest)| rest))
            .collect()
    };
    match value {
        AttributeValue::M(map) => {
            let kept: Item = map
                .iter()
                .filter_map(|(name, value)| {
                    Some((
                        name.clone(),
                        keep(value, &below(&|step| matches!(step, Step::Field(field) if field == name)))?,
                    ))
                })
                .collect();
            (!kept.is_empty()).then_some(AttributeValue::M(kept))
        }
        AttributeValue::L(list) => {
            let kept: Vec<AttributeValue> = list
                .iter()
                .enumerate()
                .filter_map(|(at, value)| keep(value, &below(&|step| *step == Step::Index(at))))
                .collect();
            (!kept.is_empty()).then_some(AttributeValue::L(kept))
        }
        _ => None,
    }
}
