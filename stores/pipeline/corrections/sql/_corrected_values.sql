-- What is to be written into failed rows: {value}, as a {kind}.
SELECT DISTINCT sale, line_number, {value}::{kind} AS new FROM {rows}
