-- The new value of each failed row: {value}, as a {kind}.
SELECT DISTINCT sale, line_number, {value}::{kind} AS new FROM {rows}
