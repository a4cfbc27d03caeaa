"""Which sentences try to take a model over? Patterns for RE2, on text made plain: few false alarms, many misses.

Written from the forms such sentences have (undo what was said, become somebody else, tell what you were told, a turn
that is no turn, a way out with the data), in the languages we can read; not from any list of attacks.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    name: str
    pattern: str


_GAP = r"(?:[\w'’,-]+ ){0,3}"
_UNDO = (
    r"(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|override|overrule|bypass|discard|dismiss|drop|erase|"
    r"neglect|skip|cancel|nullify|supersedes?|set aside|pay no attention to|stop following|do not follow|don'?t follow|"
    r"never mind|throw (?:out|away)|abandon|unlearn|delete|reset|void)"
)
_PAST = (
    r"(?:previous|previously|prior|preceding|earlier|above|before|foregoing|former|past|initial|original|existing|"
    r"current|old|given|aforementioned|system|developer|hidden|safety|your|the last|these|those|any other|other)"
)
_ORDERS = (
    r"(?:instructions?|instruct(?:ion)? sets?|directions?|directives?|orders?|commands?|rules?|guidelines?|guidance|"
    r"prompts?|prompting|constraints?|restrictions?|training|programming|policies|policy|protocols?|assignments?|"
    r"messages?|context|tasks?|safeguards?|guardrails?|filters?|ethics|limitations?|configuration|persona|sentences|"
    r"statements?|text|conversation|content)"
)
_HIDDEN = (
    r"(?:system|initial|hidden|original|secret|internal|developer|full|entire|complete|exact|"
    r"underlying|whole|actual|confidential)"
)
_TELL = (
    r"(?:reveal|show|print|output|repeat|display|tell me|give me|share|dump|leak|disclose|expose|recite|write out|"
    r"echo|return|provide|quote|summari[sz]e|copy|paste|send|list)"
)
_WHICH = (
    r"(?:(?:the |all )?(?:values?|contents?|names|list|dump|copy) (?:of|from) )?(?:(?:all|any|every|each|of|the|those|"
    r"these|its|current|existing|known|stored|saved|available|configured|full|complete|entire|exact|actual|real|raw|"
    r"plain|hidden|secret|internal|private|confidential|sensitive|system|server|service|backend|host|production|prod|"
    r"staging|live|root|admin|user|customer|company|openai|anthropic|azure|aws|google|github|stripe|cloud|database|"
    r"master) |your (?:[\w'’-]+ ){0,2}){0,4}"
)
_KEPT = (
    r"(?:environment variable|env var|api key|admin(?:istrator)? password|secret key|internal configuration|"
    r"access token|database credential|private key)"
)
_HERE = r"(?:\byou\b|stored|in your|from your|have)"
_THERE = rf"(?:$|{_HERE})"

# Who asks about such a sentence does not say it. A hit after these words does not count, unless it says "your".
ASKS = (
    r"(?:\bhow (?:do|can|could|would|should|to|does|did)|\bwhy\b|\bwhat (?:does|do|is|are|would|happens)|"
    r"\bwhen (?:do|should|to)|\bexplain|\bexample of|\bdifference)\b[^.!?]{0,60}$"
)

RULES: tuple[Rule, ...] = (
    # the guide's own
    Rule("undo", r"ignore (?:all )?(?:previous|prior|above) instructions?"),
    Rule("undo", r"disregard (?:all |everything )?(?:the )?above"),
    Rule("chat_template", r"<\|(?:im_start|im_end|system|endoftext|start_header_id|eot_id)\|>|\[/?inst\]|<</?sys>>"),
    # undo what was said
    Rule("undo", rf"\b{_UNDO} {_GAP}(?:{_PAST} ){{1,3}}{_GAP}{_ORDERS}\b"),
    Rule(
        "undo",
        rf"\b{_UNDO} (?:all|any|every|everything|anything)(?: of)?(?: the| your| my| these| those)? {_GAP}{_ORDERS}\b",
    ),
    Rule(
        "undo",
        rf"\b{_UNDO} (?:all|everything|anything|what|whatever)(?: that| which)?(?: (?:i|we|you|they|he|was|"
        rf"has|have|had|been|were|is|are|ever|just|'ve)){{0,5}} ?(?:said|told|learned|written|discussed|"
        rf"talked|mentioned|given|know|asked|instructed|about|before|above|prior|previous|earlier|so far)",
    ),
    Rule(
        "undo",
        rf"\b{_UNDO} (?:the |your |all )?(?:above|foregoing|preceding|previous|prior)\b(?: and|\.|,|!|$|"
        rf" text| information| prompt)",
    ),
    Rule("undo", rf"\b{_UNDO} your {_GAP}{_ORDERS}\b"),
    Rule(
        "undo",
        r"\b(?:new|updated|real|actual|true|different|revised) (?:instructions?|directives?|orders?|task|"
        r"objective|rules)\b.{0,12}(?:supersede|override|replace)s? (?:all |any |the |your |"
        r"every )*(?:previous|prior|earlier|old|original|above|others?|instructions)",
    ),
    Rule(
        "undo",
        r"\b(?:previous|prior|earlier|above|old|original) (?:instructions?|rules|orders|directives|"
        r"guidelines|prompts?) (?:are|were|is|have been|do not|don'?t|no longer|"
        r"should be) ?(?:now )?(?:void|invalid|cancel|superseded|obsolete|overrid|revoked|null|ignored|"
        r"apply|appl|wrong|outdated|suspended|lifted|disregarded)",
    ),
    Rule(
        "undo",
        r"\b(?:vergiss|vergessen sie|ignorier(?:e|en|t)?|missachte|verwirf|"
        r"vernachlässige)\b.{0,30}(?:anweisung|instruktion|vorher|bisher|obig|aufgaben|aufträge|befehl|"
        r"regeln|gesagt|besproch|alles|davor|zuvor)",
    ),
    Rule(
        "undo", r"(?:anweisungen|instruktionen|ausführungen|aufträge)\b.{0,24}(?:ignorier|vergiss|vergessen|missacht)"
    ),
    Rule(
        "undo",
        r"\b(?:ignor[aáe]|ignorar|olvid[aáe]|olvidar|olvide|olvídate|descarta|"
        r"omite)\w*\b.{0,30}(?:instruccion|anterior|previ[ao]s?\b|reglas|órdenes|ordenes|todo lo|indicaciones|"
        r"antes)",
    ),
    Rule(
        "undo",
        r"\b(?:ignore[zr]?|oublie[zr]?|oubliez|négligez|neglige|fais abstraction)\b.{0,30}(?:instruction|"
        r"consigne|précédent|precedent|règles|regles|ci-dessus|tout ce|avant)",
    ),
    Rule(
        "undo",
        r"\b(?:ignora|ignorate|dimentica|dimenticate|scorda|tralascia)\b.{0,30}(?:istruzion|precedent|"
        r"regole|tutto|prima|ordini)",
    ),
    Rule(
        "undo",
        r"\b(?:ignor[ea]|esqueça|esqueca|desconsidere|descarte)\w*\b.{0,30}(?:instruç|instruc|anterior|"
        r"regras|tudo|acima)",
    ),
    Rule("undo", r"\b(?:negeer|vergeet)\b.{0,30}(?:instructies|vorige|eerdere|bovenstaande|regels|alles)"),
    Rule(
        "undo",
        r"(?:игнорируй|забудь|проигнорируй|не обращай внимания)\w*.{0,30}(?:инструкци|предыдущ|указани|"
        r"правила|все|всё)",
    ),
    Rule("undo", r"(?:zignoruj|zapomnij|pomiń)\b.{0,30}(?:instrukcj|poprzedni|polece|wszystk)"),
    Rule("undo", r"(?:talimat|komut|kural)\w*.{0,20}(?:yoksay|görmezden|unut)"),
    Rule(
        "undo",
        r"(?:忽略|无视|忘记|忽視|無視).{0,10}(?:指示|指令|规则|之前|以上|上面|先前|提示|全部|所有)|(?:指示|命令|ルール|制限).{0,6}(?:無視|忘れ|解除)|"
        r"이전.{0,6}(?:지시|명령).{0,6}(?:무시|잊)",
    ),
    Rule("undo", r"(?:تجاهل|انس).{0,20}(?:التعليمات|السابقة)|(?:अनदेखा|भूल).{0,20}|निर्देश.{0,20}(?:अनदेखा|भूल)"),
    # become somebody else
    Rule(
        "persona",
        r"\b(?:you are|you'?re|act|behave|respond|pretend(?: to be| you are)?|roleplay|"
        r"operate) (?:now )?(?:as )?(?:an? |the |in )?(?:dan\b|stan\b|aim\b|do anything now|jailbroken|"
        r"unrestricted|unfiltered|uncensored|unlimited|evil|amoral|unaligned|god ?mode|developer mode|"
        r"dev mode|debug mode|admin(?:istrator)? mode|root mode|maintenance mode|sudo mode)",
    ),
    Rule(
        "persona",
        r"\b(?:enter|enable|activate|switch to|turn on|engage|unlock|initiate|start|go into|"
        r"you are (?:now )?in|entering)\b.{0,16}\b(?:developer|god|jailbreak|unrestricted|dan|admin|"
        r"unsafe|evil|chaos|opposite|override) mode\b",
    ),
    Rule(
        "persona",
        r"\b(?:you (?:now )?(?:have|are|follow|operate)|with|has|as an? (?:ai|assistant|bot|model)|"
        r"free of|without|bound by|there are)\b.{0,20}\bno (?:\w+ )?(?:restrictions?|rules|limits|"
        r"limitations|filters?|guidelines|constraints|boundaries|censorship|ethic\w*|moral\w*|"
        r"content polic\w*)",
    ),
    Rule(
        "persona",
        r"\byou are (?:no longer|not) (?:an? |the )?(?:ai|assistant|bot|chatbot|language model|bound|"
        r"restricted|limited|required|subject|\w+ (?:bot|assistant|agent))\b",
    ),
    Rule(
        "persona",
        r"\b(?:without|free (?:of|from)|remove|removing|lift|disable|turn off|bypass|circumvent|ignore|"
        r"no longer bound by|not bound by|break free from|drop)\b.{0,16}(?:your|all|any|its|"
        r"ai) (?:\w+ ){0,2}(?:restrictions|safety (?:\w+ )?(?:filters?|guidelines|protocols|measures|"
        r"rules)|guardrails|content (?:filters?|polic\w+|restrictions|moderation)|"
        r"ethical (?:\w+ )?(?:guidelines|constraints|limits)|limitations|censorship|safeguards)",
    ),
    Rule(
        "persona",
        r"\b(?:do anything now|jailbreak(?:ed|ing)? (?:mode|prompt|yourself|you)|from now on,? you (?:are|"
        r"will|must|have|can|shall)|stay in character|never break character)\b.{0,80}\b(?:restrict|rules|"
        r"unfiltered|anything|refus|polic|limit|filter|dan\b|ignore|guideline|evil|comply|obey|"
        r"answer every)",
    ),
    Rule(
        "persona",
        r"(?:sin|sans|ohne|senza|sem|zonder) (?:ninguna |aucune |jegliche |alcuna |"
        r"nenhuma )?(?:restric\w+|filtro\w*|filtres?|beschränkung\w*|einschränkung\w*|restrizion\w+|"
        r"limit\w+|restriç\w+|beperking\w*|regeln|reglas)",
    ),
    # somebody without rules, and rules that are told to be none
    Rule(
        "persona",
        r"\b(?:unrestricted|unfiltered|uncensored|unaligned|jailbroken) (?:ai|mode|assistant|model|version|self|llm|"
        r"chatbot|bot|answers?|responses?)\b",
    ),
    Rule(
        "persona",
        r"\b(?:help|answer|respond|reply|act|speak|operate|assist|talk|comply)\w* (?:me |to me |everything |anything |"
        r"freely |completely |all questions )?(?:without|with no|free of|free from) (?:any |your |all |"
        r"further )?(?:limits|limitations|restrictions?|filter\w*|guidelines|rules|censorship|constraints|safety|"
        r"restraint|boundaries|moral\w*)\b",
    ),
    Rule(
        "persona",
        r"\b(?:respond|reply|answer|speak|act|behave|write) as (?:if you (?:were|are|had|have)|"
        r"though you (?:were|are|had)|an?) (?:an? )?(?:\w+ ){0,2}(?:no |without |"
        r"un(?:restricted|filtered|censored) )(?:\w+ ){0,2}(?:rules|restrictions?|filters?|guidelines|limits|"
        r"limitations|ai|model|morals|assistant)\b",
    ),
    Rule(
        "undo",
        r"\byour (?:\w+ ){0,2}(?:guidelines|restrictions|rules|instructions|safeguards|limitations|filters|programming|"
        r"training) (?:are|were|is|was|have been|has been|do not|don'?t|no longer|should be|can be|must be) (?:now |"
        r"hereby |temporarily |not |really )?(?:void|invalid|lifted|suspended|removed|disabled|outdated|apply|count|"
        r"cancell?ed|overridden|revoked|off|bypassed|ignored|irrelevant|matter)\b",
    ),
    Rule(
        "prompt_leak",
        rf"\b(?:{_TELL}|describe|state|revealing|sharing|showing|disclosing|say) (?:\w+ ){{0,2}}your (?:\w+ ){{0,2}}"
        rf"(?:guidelines|restrictions|configuration|setup|safety rules|constraints|initiali[sz]ation|"
        rf"system (?:text|message|prompt|instructions)|instruction set|"
        rf"(?:operating|operational) (?:parameters|rules|directives|guidelines))\b",
    ),
    # tell what you were told
    Rule(
        "prompt_leak",
        rf"\b{_TELL} (?:me |us )?(?:back )?(?:all |exactly |verbatim )?(?:of )?(?:the |your |its |"
        rf"my )?(?:{_HIDDEN} ){{1,3}}(?:prompts?|instructions?|message|directives?|rules|guidelines|"
        rf"configuration|context|text)\b",
    ),
    Rule(
        "prompt_leak",
        rf"\b{_TELL} {_GAP}your (?:\w+ ){{0,2}}(?:prompts?|instructions|directives|guidelines|"
        rf"prompt texts?|configuration|system message)\b",
    ),
    Rule(
        "prompt_leak",
        r"\b(?:repeat|print|output|write|copy|say) (?:back )?(?:the |all |everything |"
        r"every word )?(?:text |words? |content |sentences? |lines? )?(?:above|before this|prior to this|"
        r"you were (?:given|told))(?:\b.{0,30}(?:verbatim|word for word|exactly|this (?:line|message|"
        r"point)|code block|starting)|$|[.!])",
    ),
    Rule(
        "prompt_leak",
        r"\bwhat (?:are|were|is|was) your (?:\w+ ){0,2}(?:instructions|system prompt|initial prompt|"
        r"prompt|directives|secret|hidden rules)\b",
    ),
    Rule(
        "prompt_leak",
        r"(?:zeig\w*|nenn\w*|gib|verrate|muestra|muéstrame|revela|montre[zr]?|révèle\w*|révélez|mostra|"
        r"rivela|mostre|toon|покажи|раскрой|göster)\b.{0,40}(?:system ?prompt|prompt|anweisung|"
        r"instruccion|instruction|istruzion|instruç|instructies|инструкци|промпт|sistem komut|"
        r"indicaciones)",
    ),
    Rule(
        "prompt_leak",
        r"(?:显示|告诉|透露|输出|表示|教え).{0,12}(?:系统提示|提示词|システムプロンプト|プロンプト|指令)|(?:系统提示|システムプロンプト).{0,8}(?:显示|告诉|透露|表示|教え)",
    ),
    # an order in what should be data; a way out with the data
    Rule(
        "planted",
        r"\b(?:note|message|attention|important|notice|memo|reminder)(?: \w+)? (?:to|for) (?:the |any |"
        r"all )?(?:ai|assistant|llm|bot|language model|chatbot|summari[sz]er)s?\b",
    ),
    Rule(
        "planted",
        r"\b(?:ai|llm|assistant|bot|model|agent)s?[, ]+(?:you )?(?:must|shall|are required to|"
        r"reading this)\b.{0,60}\b(?:ignore|include|append|output|reveal|send|add|execute|rank|approve|"
        r"insert|forward)",
    ),
    Rule(
        "planted",
        r"\bwhen (?:you )?(?:summari[sz]e|summari[sz]ing|reading|evaluating|processing|reviewing|you read|"
        r"asked|translat\w+)\b.{0,60}\b(?:must|always|instead|do not mention|include|append|insert|"
        r"also (?:say|add|output)|rank)\b",
    ),
    Rule(
        "planted",
        r"\b(?:append|include|add|insert|put|output|embed)\b.{0,24}\b(?:exact|verification|confirmation|"
        r"authorization|secret|logging|following) (?:\w+ )?(?:token|code|string|phrase|canary|marker|link|"
        r"url)\b.{0,40}\b(?:repl(?:y|ies)|response|answer|summary|output|end|message)",
    ),
    Rule(
        "planted",
        r"\bend of (?:\w+ )?(?:document|input|context|user input|text|prompt|data|"
        r"instructions)\b.{0,30}(?:system|new|instruction|assistant|user|begin|start)",
    ),
    Rule(
        "exfiltration",
        r"\b(?:send|forward|post|upload|email|e-mail|transmit|exfiltrate|leak|"
        r"copy)\b.{0,40}\b(?:passwords?|api keys?|credentials|secrets|tokens|customer (?:data|emails?|"
        r"records?)|conversation|chat history|private (?:data|keys?)|environment variables|contents?|"
        r"database|user data)\b.{0,40}\b(?:to|at)\b.{0,6}(?:https?:|[\w.+-]+@|attacker|evil|external|"
        r"this (?:url|address)|my (?:server|email)|webhook)",
    ),
    Rule(
        "exfiltration",
        r"!\[[^\]]{0,40}\]\(https?://[^)]{0,80}\?[^)]{0,40}(?:=\{|=<|=\[|data=|q=\$|secret|conversation|"
        r"history|prompt)",
    ),
    # Who wants to have them, and not to know about them ("tell me how to revoke an API key"): between the verb and the
    # thing there is only what says which one.
    Rule(
        "exfiltration",
        rf"\b(?:list|print|show|dump|reveal|output|give|tell) (?:me |us |out )?{_WHICH}{_KEPT}s?\b.{{0,24}}{_THERE}",
    ),
    Rule(
        "exfiltration",
        rf"\bwhat(?:'s|’s| is| are| were| was) (?:all |the |your ){_WHICH}{_KEPT}s?\b(?:[^\w]*$|.{{0,24}}{_HERE})",
    ),
    Rule(
        "decode",
        r"\b(?:decode|decrypt|deobfuscate|base64|rot13|hex)\b.{0,60}\b(?:and|then)\b.{0,20}\b(?:follow|"
        r"execute|do|obey|run|comply|perform|act on|carry out)\b.{0,12}\b(?:it|what|them|instructions?|"
        r"that|the result|exactly|commands?)",
    ),
)

# On text as it came: where its lines begin matters.
LINES: tuple[Rule, ...] = (
    Rule(
        "turn",
        r"(?im)^[ \t>*#]*\[?(?:system|developer)(?: (?:message|prompt|note|update|override|instructions?|"
        r"notice|alert))?\]?"
        r"[ \t]*:(?:[ \t]*\S+){3}",
    ),
)
