use super::*;

#[test]
fn arrow_types_of_sql_types_are_storable_and_come_back() {
    use SqlType as S;
    let simple_types = [
        S::Boolean,
        S::TinyInt,
        S::SmallInt,
        S::Integer,
        S::BigInt,
        S::UTinyInt,
        S::USmallInt,
        S::UInteger,
        S::UBigInt,
        S::Real,
        S::Double,
        S::Varchar,
        S::Varbinary,
        S::Time,
        S::Date,
        S::Timestamp,
        S::IntervalDaySecond,
    ];
    for sql_type in simple_types {
        let field = field_from_arrow(&ArrowField::new("f", DataType::Boolean, true), true);
        let inner = simple(sql_type);
        for column_type in [
            inner.clone(),
            array_of(inner.clone()),
            row_of(vec![Field {
                columntype: inner.clone(),
                ..field
            }]),
            map_of(
                ColumnType {
                    nullable: false,
                    ..simple(S::Varchar)
                },
                inner,
            ),
        ] {
            let data_type = arrow_type(&column_type);
            assert_eq!(storable(&data_type).as_ref(), Some(&data_type));
            assert_eq!(from_arrow(&data_type, true), column_type);
        }
    }
}

#[test]
fn other_arrow_types_have_a_storable_form() {
    assert_eq!(storable(&DataType::Utf8View), Some(DataType::Utf8));
    assert_eq!(storable(&DataType::Null), Some(DataType::Utf8));
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    assert_eq!(
        storable(&nanoseconds),
        Some(DataType::Timestamp(TimeUnit::Microsecond, None))
    );
    assert_eq!(storable(&DataType::Decimal256(70, 2)), None);
}
