/* inspect/report.h - helpers shared by metrics and reports: numbers and text as JSON, XML and CSV want them, whatever the host's locale. */
#ifndef ED_INSPECT_REPORT_H
#define ED_INSPECT_REPORT_H

#include "base/internal.h"

/** %.<digits>g with a point as decimal sign; "nan", "inf", "-inf". Returns out. */
const char *ed__number_text(double v, int digits, char out[40]);
/** The same, null where JSON has no number for v. */
void ed__json_put_number(ed__buf *b, double v, int digits);
/** A JSON string with quotes; bytes that are no UTF-8 become U+FFFD. */
void ed__json_put_text(ed__buf *b, const char *text);
/** Text for XML and HTML content and attributes: < > & " ' escaped; control bytes that XML forbids and invalid UTF-8 become U+FFFD. */
void ed__xml_put_text(ed__buf *b, const char *text);

#endif
