-- The new value of each failed row.
--
-- A part of replace_values, by sales.write_value(). {value}: the value or the parameter that holds
-- it. {kind}: the type of the column. {rows}: the failed rows, with sale, line_number and expected.
SELECT DISTINCT sale, line_number, {value}::{kind} AS new FROM {rows}
