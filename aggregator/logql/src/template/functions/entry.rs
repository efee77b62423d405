//! What surrounds the labels: the line and its time.

use crate::template::function::Function;
use crate::template::time::Time;
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("__line__", &[], |call| Ok(Value::borrowed(call.environment.line()))),
    Function::new("__timestamp__", &[], |call| Ok(Value::Time(Time::from_nanoseconds(call.environment.timestamp())))),
];
